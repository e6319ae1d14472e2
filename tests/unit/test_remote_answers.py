"""What servers say when they refuse, as people read it."""

from __future__ import annotations

import pytest

from kache.remote import answers

_CLIENT = "Error performing GET http://h/b/o in 1.3ms - Server returned non-2xx status code: "


@pytest.mark.parametrize(
    ("text", "reason", "is_denied", "advice"),
    [
        (
            _CLIENT + "403 Forbidden: <?xml version='1.0'?><Error><Code>InvalidAccessKeyId</Code><Message>The key you"
            " provided does not exist. See our handbook.</Message></Error>",
            "the server answered 403, InvalidAccessKeyId: The key you provided does not exist",
            True,
            "access key",
        ),
        (
            _CLIENT + "403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code></Error>",
            "the server answered 403, RequestTimeTooSkewed",
            True,
            "clock",
        ),
        (
            _CLIENT + "400 Bad Request: <Error><Code>ExpiredToken</Code><Message>it has expired</Message></Error>",
            "the server answered 400, ExpiredToken: it has expired",
            True,
            "sign in again",
        ),
        (
            _CLIENT + "403 Forbidden: <Error><Code>Not\x1b]0;x\x07You</Code><Message>\x1b[2Jgone</Message></Error>",
            "the server answered 403, Not ]0;x You: [2Jgone",
            True,
            "",
        ),
        (_CLIENT + "503 Service Unavailable: ", "the server answered 503", False, ""),
        ("error sending request\nconnection refused", "error sending request", False, ""),
        ("", "", False, ""),
    ],
)
def test_a_refusal_is_one_line_and_says_what_to_do(text: str, reason: str, is_denied: bool, advice: str) -> None:
    assert answers.reason(text) == reason
    assert answers.is_denied(text) == is_denied
    assert advice in answers.advice(text) and bool(answers.advice(text)) == bool(advice)
