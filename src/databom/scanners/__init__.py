"""Is there personal data in these bytes? Scanners, and nothing else: no files, no keys, no opinion.

| file | what it is |
|---|---|
| `protocol` | what a scanner is, for whoever writes one |
| `media` | what kind of bytes these are: by what they begin with, then by what is said of them |
| `patterns`, `phones` | e-mail addresses, phone numbers, cards, IBANs, US social security numbers, IPs in a text |
| `texts` | the pieces of a document that say something, and where they stand in it |
| `pictures`, `faces` | faces (YuNet), and what a picture's metadata says about people and places |
| `archives` | the members of archives, unpacked within limits |
| `tables` | the cells of Parquet and Arrow files |
| `looking` | all of it together: bytes in, `Seen` out |
| `registry` | which scanners there are: the two built-in ones, and entry points that the user named |

    from databom.scanners.looking import Looker
    from databom.scanners.registry import load

    seen = Looker(load(()).scanners).look(b"write to ada@example.org", None, "letter.txt")
    seen.hits                                     # {"email": (1, 1.0)}

A scanner of your own is an entry point of the group `databom.scanners` that gives a `protocol.Scanner`. It is used
only where the user names it (`DATABOM_SCANNERS`): a cloned repository can demand a scanner, and never start one.

What was found is told by its kind, how often, and how sure: never by its value, nor by a hash of it, since a phone
number is guessed from its hash in a second.

Promised: bytes that no scanner could read are told (`Seen.doubts`), never passed over. Not promised: names and
addresses of people, which no pattern finds; handwriting and text in pictures; voices.

Imports from `model` and `errors` only; Pillow, onnxruntime, pyarrow and phonenumbers when they are needed.
"""
