// An auditor who has nothing of databom's: Go's own sumdb (note and tlog), and the text of C2SP tlog-cosignature.
//
//	check PROOF ENTRY VKEY [WITNESS PUBLIC]...
//
// says OK where ENTRY is in the log of VKEY, by the tlog-proof in PROOF, and every witness (a name and its raw Ed25519
// key in base64) signed the same checkpoint.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// witness verifies cosignatures: eight bytes of time, and a signature over the time and the text.
type witness struct {
	name string
	key  ed25519.PublicKey
}

func (w witness) Name() string { return w.name }

func (w witness) KeyHash() uint32 {
	hash := sha256.Sum256(append([]byte(w.name+"\n\x04"), w.key...))
	return binary.BigEndian.Uint32(hash[:4])
}

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), text...)
	return ed25519.Verify(w.key, signed, signature[8:])
}

func require(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func hash(line string) (found tlog.Hash) {
	raw, err := base64.StdEncoding.DecodeString(line)
	require(err)
	if copy(found[:], raw) != tlog.HashSize || len(raw) != tlog.HashSize {
		require(fmt.Errorf("no hash: %q", line))
	}
	return
}

func main() {
	proof, err := os.ReadFile(os.Args[1])
	require(err)
	entry, err := os.ReadFile(os.Args[2])
	require(err)
	log, err := note.NewVerifier(os.Args[3])
	require(err)
	verifiers := []note.Verifier{log}
	for more := os.Args[4:]; len(more) > 1; more = more[2:] {
		public, err := base64.StdEncoding.DecodeString(more[1])
		require(err)
		verifiers = append(verifiers, witness{more[0], public})
	}
	head, checkpoint, found := bytes.Cut(proof, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		require(fmt.Errorf("no tlog-proof"))
	}
	opened, err := note.Open(checkpoint, note.VerifierList(verifiers...))
	require(err)
	if len(opened.Sigs) != len(verifiers) {
		require(fmt.Errorf("%d of %d signed", len(opened.Sigs), len(verifiers)))
	}
	var index, size int64
	stated := strings.Split(opened.Text, "\n")
	_, err = fmt.Sscanf(lines[1], "index %d", &index)
	require(err)
	_, err = fmt.Sscan(stated[1], &size)
	require(err)
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		path = append(path, hash(line))
	}
	require(tlog.CheckRecord(path, size, hash(stated[2]), index, tlog.RecordHash(entry)))
	fmt.Println("OK", index, "of", size)
}
