"""Reports in the forms that other programs read: findings in, text out.

| file | for whom |
|---|---|
| `sarif` | code scanning: SARIF 2.1.0, an OASIS standard |
| `junit` | the test report of a CI server: JUnit XML as Jenkins and Surefire describe it |
| `markdown` | a job summary, or a comment on a pull request |
| `texts` | what the three have in common |
| `codes` | what each finding's code stands for, in the words of the page Findings |

    from databom.checks.formats.sarif import to_sarif

    print(to_sarif(databom.check(), folder=""), end="")

Pure: no clock, no files but our own words, no network. The same report gives the same bytes. Texts in a report come
from documents that strangers wrote: each writer escapes them for its format, so that none can add a finding, a link, a
mention or a test that passes.

What a writer does not promise: everything. SARIF and Markdown have limits where they are read; what was left out is
counted, the worst is kept, and `--format json` has all of it.
"""
