"""Keeping secrets out of texts that others wrote: log records of the HTTP libraries, server errors.

databom's own messages are built from its own words, so they need no redaction. This is for texts that pass
through: at level DEBUG urllib3 logs a request's query, botocore its headers, its signature and the server's
answer, and servers echo what they were sent.
"""

from __future__ import annotations

import logging
import re
from typing import Final

HIDDEN: Final = "[hidden]"

_PARAMETERS: Final = (
    r"x-amz-[a-z0-9-]*|x-goog-[a-z0-9-]*|signature|sig|awsaccesskeyid|access[_-]?key(?:[_-]?id)?|secret[a-z_-]*|"
    r"(?:[a-z]+[_-])*token|api[_-]?key|key-pair-id|policy|password|passwd|pwd|credential"
)
_RULES: Final = (
    # user:password@ of any URL
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://)[^/\s?#@\"'<>]*@"), rf"\1{HIDDEN}@"),
    # the whole query of a URL: which part of it is a secret, only its server knows
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://[^\s?#\"'<>]*)\?[^\s\"'<>]*"), rf"\1?{HIDDEN}"),
    # headers, as text and as the repr of a mapping
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|x-amz-(?:security-token|signature|credential)|(?:set-)?cookie)"
            r"(['\"]?\s*[:=,]\s*(?:b?['\"])?)[^\r\n'\"]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=\-]{6,}"), rf"\1 {HIDDEN}"),
    # name=value, as in a query, a form or a signed header
    (re.compile(rf"(?i)\b({_PARAMETERS})=[^&\s\"'<>,;]+"), rf"\1={HIDDEN}"),
    # what S3 servers answer to a wrong signature
    (
        re.compile(
            r"(?is)<(AWSAccessKeyId|StringToSign|SignatureProvided|StringToSignBytes|CanonicalRequest|"
            r"CanonicalRequestBytes|Token-0|ProvidedToken|Credential|Signature)>.*?</\1>"
        ),
        rf"<\1>{HIDDEN}</\1>",
    ),
    # what botocore's signer logs
    (re.compile(r"(?is)\b(Signature|StringToSign|CanonicalRequest):\n.*"), rf"\1: {HIDDEN}"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), HIDDEN),
)

# Filters act on the logger a record is made by, not on its children: hence every name.
_LOGGERS: Final = (
    "urllib3.connectionpool",
    "urllib3.util.retry",
    "s3fs",
    "fsspec",
    "botocore.auth",
    "botocore.awsrequest",
    "botocore.client",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.regions",
    "botocore.retries.standard",
    "botocore.retryhandler",
    "botocore.utils",
    "aiobotocore.endpoint",
    "aiobotocore.httpsession",
    "aiobotocore.parsers",
    "aiobotocore.regions",
    "aiobotocore.utils",
)


def redact(text: str) -> str:
    """`text` without the secrets we know the shape of: queries, signatures, tokens, passwords, key ids.

    Idempotent. It errs on hiding too much; it cannot find a secret that looks like a word.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info:
            record.exc_info, record.exc_text = None, None
        return True


_filter = _RedactingFilter()


def hide_secrets_in_logs() -> None:
    """Make the HTTP libraries' own log records safe to keep. Called before the first request; idempotent.

    It costs nothing unless somebody switched those loggers to DEBUG, and changes no level or handler.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)
