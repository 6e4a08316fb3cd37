"""Dead letters are looked at without harm and sent back into the queue, on their page and by `replay_dead_letters`."""

import html
import json
import logging
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from inventory_project.foundation.messaging.admin_letters import PrintableLetter
from inventory_project.foundation.messaging.models import InboxMessage
from inventory_project.foundation.messaging.rabbitmq import dead_letters
from inventory_project.foundation.messaging.rabbitmq.connection import BrokerUnavailable
from inventory_project.foundation.messaging.rabbitmq.messages import Delivery
from inventory_project.foundation.messaging.rabbitmq.topology import DEAD_QUEUE, QUEUE
from reservations.models import Reservation
from tests import amqp, factories
from tests.integration.messaging.mail import NO_ID, REASON, Mail
from tests.integration.messaging.programs import command
from tests.servers import RABBITMQ_BIN, RabbitMQ, free_port
from tests.service import KEY, environment, manage, url_of_test_database, wait_until

PAGE = "/admin/messaging/inboxmessage/dead-letters/"


@pytest.fixture
def mail(clean_queues: str) -> Iterator[Mail]:
    """The queues, empty."""
    with Mail(clean_queues) as mail:
        yield mail


@pytest.fixture
def ana(transactional_db: None, settings: Settings) -> Client:
    """The browser of somebody who may do everything."""
    settings.SECURE_SSL_REDIRECT = False
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    return client


@pytest.fixture
def real(mail: Mail, clean_queues: str, transactional_db: None) -> dict[str, str]:
    """The environment of a command on the tests' database and broker."""
    return environment(DATABASE_URL=url_of_test_database(), RABBITMQ_URL=clean_queues, SECRET_KEY=KEY)


def keys(page: str) -> list[str]:
    """What a browser would send back for the boxes that can be ticked, or that a question has in it."""
    return re.findall(r'name="key" value="(\w+)"', page)


def get(client: Client) -> str:
    response = client.get(PAGE)
    assert response.status_code == 200
    return response.content.decode()


def told(client: Client, **choice: object) -> list[str]:
    """What the page tells once the question was answered."""
    response = client.post(PAGE, {"is_answered": "yes", **choice}, follow=True)
    assert response.redirect_chain == [(PAGE, 302)]
    return [str(message) for message in response.context["messages"]]


def ids(letters: Sequence[Delivery]) -> list[str | None]:
    return [letter.message_id for letter in letters]


# --- looking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_look_leaves_each_dead_letter_in_its_place(
    mail: Mail, is_guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [str(n) for n in range(120)]
    for message_id in every:
        mail.bury(b"{}", message_id)
    if not is_guarded:  # the control: closing the channel gives back too, but in any order
        monkeypatch.setattr(dead_letters, "_give_back", lambda *_: None)
    looks = [dead_letters.look(limit=50) for _ in range(4)]
    assert {number for number, _ in looks} == {120}
    are_in_place = [ids(letters) == every[:50] for _, letters in looks]
    assert are_in_place == [True] * 4 if is_guarded else False in are_in_place
    _, everything = dead_letters.look(limit=1_000)
    assert sorted(map(str, ids(everything))) == sorted(every)
    assert (ids(everything) == every) is is_guarded


def test_a_dead_letter_outlives_more_looks_than_a_message_has_deliveries(mail: Mail) -> None:
    mail.bury(b"{}", "1")
    for _ in range(25):
        assert ids(dead_letters.look(limit=50)[1]) == ["1"]


def test_a_replay_of_some_leaves_the_others_in_their_places(mail: Mail) -> None:
    for n in range(80):
        mail.bury(b"{}", str(n))
    assert dead_letters.replay(limit=1_000, actor="test", names=["3", "70", "80"]) == (2, {"80"})
    left = [str(n) for n in range(80) if n not in (3, 70)]
    assert ids(dead_letters.look(limit=1_000)[1]) == left
    assert [message_id for message_id, _, _ in mail.take()] == ["3", "70"]
    assert dead_letters.replay(limit=40, actor="test", names=["0", "79"]) == (1, {"79"})


def test_a_key_tells_letters_apart_and_stays_the_same(mail: Mail) -> None:
    mail.bury(b"1")
    mail.bury(b"2")
    mail.bury(b"2", "2")
    mail.bury(b"2", **{"x-routing-key": "payment.failed"})
    mail.bury(b"2" * 10_000)
    mail.bury(b"2" * 10_001)
    first, second = ([letter.key for letter in dead_letters.look(limit=50)[1]] for _ in range(2))
    assert (first, len(set(first))) == (second, 6)


def test_of_a_large_body_only_the_beginning_is_kept(mail: Mail) -> None:
    mail.bury(b"x" * 300_000)
    (letter,) = dead_letters.look(limit=50)[1]
    assert (letter.body, letter.size) == (b"x" * 4_096, 300_000)
    assert (PrintableLetter.of(letter).left_out, dead_letters.replay(limit=1, actor="test", names=[letter.key])) == (
        295_904,
        (1, set()),
    )
    assert mail.take()[0][1] == b"x" * 300_000


# --- the page: what it shows ---------------------------------------------------------------------------------------


def test_without_dead_letters_the_page_says_so(ana: Client, mail: Mail) -> None:
    page = get(ana)
    assert "There are no dead letters." in page
    assert keys(page) == []


def test_where_the_queue_is_not_there_the_page_says_who_declares_it(ana: Client, mail: Mail) -> None:
    mail.channel.queue_delete(DEAD_QUEUE)
    sentence = "RabbitMQ lacks what a consumer declares when it starts: NOT_FOUND - no queue 'inventory.orders.dead'"
    assert sentence in html.unescape(get(ana))
    assert [message.startswith(sentence) for message in told(ana, all="5")] == [True]


def test_a_letter_is_shown_with_its_reason_and_its_body_laid_out(ana: Client, mail: Mail) -> None:
    mail.bury(b'{"order_id":"7","note":"\xc3\xa9 <i>"}', "m-1")
    page = html.unescape(get(ana))
    assert re.findall(r"\d+ dead letters?", page) == ["1 dead letter"]
    for text in ("payment.confirmed", "m-1", "from payment.events", REASON, "Delayed 12 times."):
        assert text in page
    assert '<pre>{\n  "order_id": "7",\n  "note": "é <i>"\n}</pre>' in page


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "<pre></pre><em>empty</em>"),
        (b"<script>alert(1)</script>", "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>"),
        (b'{"a": "</pre><img src=x onerror=alert(1)>"}', "&lt;/pre&gt;&lt;img src=x onerror=alert(1)&gt;"),
        (b"\xff\xfe\x00\x1b[2J", r"<pre>\xff\xfe\x00\x1b[2J</pre>"),
        ("\u202eabc\u200b\ufeff".encode(), r"<pre>\u202eabc\u200b\ufeff</pre>"),
        (b'{"a": "\\ud800"}', r"<pre>{&quot;a&quot;: &quot;\ud800&quot;}</pre>"),
        (b'{"a": 1, "a": 2}', "<pre>{&quot;a&quot;: 1, &quot;a&quot;: 2}</pre>"),
        (b"[" * 5_000, f"<pre>{'[' * 4_096}</pre>and 904 more bytes"),
        (b'{"a":' * 800 + b"1" + b"}" * 800, f"<pre>{'{&quot;a&quot;:' * 800}1"),
        (b'{"a": 1e400, "b": ' + b"9" * 4_000 + b"}", "&quot;b&quot;: 9999"),
        (b'{"a": [' + b"{}," * 1_300 + b"{}]}", "&quot;a&quot;: ["),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "and 295913 more bytes"),
    ],
)
def test_whatever_was_sent_is_text_on_the_page(ana: Client, mail: Mail, body: bytes, shown: str) -> None:
    mail.bury(body, "m-1")
    page = get(ana)
    assert shown in page
    assert len(page) < 100_000
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert told(ana, key=keys(page)) == ["Dead letters put back into the queue: 1."]
    assert mail.take()[0][1] == body


def test_hostile_ids_names_and_headers_are_text_too(ana: Client, mail: Mail) -> None:
    script = "<script>alert(1)</script>\x1b\u202e\n"
    hostile = {
        "x-exchange": script,
        "x-routing-key": script,
        "x-reason": script * 400,
        "x-tries": "many",
        "x-death": [{"routing-keys": 5, "reason": 7}],
        "nested": [{"a": [None, 2**62, b"\xff"]}],
    }
    mail.bury(b"{}", script, **hostile)
    mail.bury(b"{}", "2", **{"x-reason": b"\xff", "x-exchange": 7, "x-routing-key": None, "x-death": "often"})
    page = get(ana)
    assert len(keys(page)) == 2
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\x1b\u202e\n" in page
    assert len(page) < 20_000
    asked = ana.post(PAGE, {"key": keys(page)})
    assert "<script>alert" not in asked.content.decode()
    assert told(ana, key=keys(page)) == ["Dead letters put back into the queue: 2."]
    assert [message_id for message_id, _, _ in mail.take()] == [script, "2"]


def test_of_many_the_oldest_fifty_are_shown_and_how_many_more_there_are(ana: Client, mail: Mail) -> None:
    for n in range(53):
        mail.bury(b"{}", f"m-{n}")
    page = get(ana)
    assert "53 dead letters; this page lists the oldest 50, and there are 3 more." in page
    assert [n for n in range(53) if f"<br>\nm-{n}<br>" in page] == list(range(50))
    assert len(keys(page)) == 50
    assert ">Put all 53 back into the queue</button>" in page


# --- the page: sending them back -----------------------------------------------------------------------------------


def test_selected_letters_are_sent_back_after_a_question_as_they_first_came(
    ana: Client, mail: Mail, caplog: pytest.LogCaptureFixture
) -> None:
    mail.bury(b'{"n": 0}', "m-0", traceparent="00-1-2-3")
    mail.bury(b'{"n": 1}')
    mail.bury(b'{"n": 2}', "m-2")
    chosen = keys(get(ana))[:2]
    asked = ana.post(PAGE, {"key": chosen})
    question = html.unescape(asked.content.decode())
    assert (asked.status_code, "Put these dead letters back into the queue?" in question) == (200, True)
    assert (f"payment.confirmed m-0: {REASON}" in question, f"without an id: {REASON}" in question) == (True, True)
    assert keys(question) == chosen
    assert (mail.number(QUEUE), mail.number(DEAD_QUEUE)) == (0, 3)
    with caplog.at_level(logging.INFO, logger=dead_letters.__name__):
        assert told(ana, key=chosen) == ["Dead letters put back into the queue: 2."]
    first = {"x-exchange": "payment.events", "x-routing-key": "payment.confirmed"}
    assert mail.take() == [("m-0", b'{"n": 0}', {**first, "traceparent": "00-1-2-3"}), (None, b'{"n": 1}', first)]
    assert ids(dead_letters.look(limit=50)[1]) == ["m-2"]
    assert [line.getMessage() for line in caplog.records if line.name == dead_letters.__name__] == [
        "dead letters were put back into the queue: 2, by staff:ana"
    ]


def test_an_answer_that_is_sent_twice_sends_nothing_twice(ana: Client, mail: Mail) -> None:
    mail.bury(b"{}", "m-0")
    chosen = keys(get(ana))
    told(ana, key=chosen)
    assert told(ana, key=chosen) == [
        "Dead letters put back into the queue: 0.",
        "Not found: 1. Somebody else has put them back, or is looking at them right now.",
    ]
    assert [message_id for message_id, _, _ in mail.take()] == ["m-0"]
    question = ana.post(PAGE, {"key": chosen}).content.decode()
    assert "None of those selected is here any more." in question
    assert "Yes, do it" not in question


def test_all_are_sent_back_as_many_as_the_question_named(ana: Client, mail: Mail) -> None:
    for n in range(3):
        mail.bury(b"{}", str(n))
    assert '<button type="submit" name="all" value="3"' in get(ana)
    asked = ana.post(PAGE, {"all": "3"}).content.decode()
    assert "Put 3 dead letters back into the queue?" in asked
    assert '<input type="hidden" name="all" value="3">' in asked
    mail.bury(b"{}", "came meanwhile")
    assert told(ana, all="3") == ["Dead letters put back into the queue: 3."]
    assert [message_id for message_id, _, _ in mail.take()] == ["0", "1", "2"]
    assert ids(dead_letters.look(limit=50)[1]) == ["came meanwhile"]


def test_looking_changes_nothing_whatever_the_address_says(ana: Client, mail: Mail) -> None:
    mail.bury(b"{}", "m-0")
    key = keys(get(ana))[0]
    for query in ("?all=1&is_answered=yes", f"?key={key}&is_answered=yes"):
        assert ana.get(PAGE + query).status_code == 200
    assert (mail.number(QUEUE), mail.number(DEAD_QUEUE)) == (0, 1)


def test_who_may_only_look_is_offered_nothing(ana: Client, mail: Mail) -> None:
    mail.bury(b"{}", "m-0")
    User.objects.filter(username="ana").update(is_superuser=False, is_staff=True)
    User.objects.get(username="ana").user_permissions.set(Permission.objects.filter(codename="view_inboxmessage"))
    page = get(ana)
    assert ("m-0" in page, keys(page), "<button" in page.partition('id="content"')[2]) == (True, [], False)
    assert ana.post(PAGE, {"all": "1", "is_answered": "yes"}).status_code == 403
    assert (mail.number(QUEUE), mail.number(DEAD_QUEUE)) == (0, 1)


def test_where_the_services_queue_is_not_there_no_letter_is_lost(ana: Client, mail: Mail) -> None:
    mail.bury(b"{}", "m-0")
    mail.channel.queue_delete(QUEUE)
    assert told(ana, all="1") == [
        "Queue inventory.orders does not exist or is full. Start `consume_events`, which declares it."
    ]
    assert ids(dead_letters.look(limit=50)[1]) == ["m-0"]


def test_a_replay_that_breaks_off_says_how_many_were_sent_before(
    ana: Client, mail: Mail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(3):
        mail.bury(b"{}", f"m-{n}")
    send = dead_letters._requeue

    def deleting_the_queue_afterwards(*arguments: Any) -> None:
        send(*arguments)
        mail.channel.queue_delete(QUEUE)

    monkeypatch.setattr(dead_letters, "_requeue", deleting_the_queue_afterwards)
    with caplog.at_level(logging.INFO, logger=dead_letters.__name__):
        assert told(ana, all="3") == [
            "Queue inventory.orders does not exist or is full. Start `consume_events`, which declares it. "
            "Dead letters put back into the queue before that: 1."
        ]
    assert [line.getMessage() for line in caplog.records if line.name == dead_letters.__name__] == [
        "dead letters were put back into the queue: 1, by staff:ana"
    ]
    wait_until(lambda: mail.number(DEAD_QUEUE) == 2, "the others are back")
    assert sorted(map(str, ids(dead_letters.look(limit=50)[1]))) == ["m-1", "m-2"]


def test_a_replay_does_not_wait_for_ever_for_a_broker_in_alarm(mail: Mail, rabbitmq: RabbitMQ) -> None:
    def ctl(*arguments: str) -> None:
        program = str(RABBITMQ_BIN / "rabbitmqctl")
        subprocess.run([program, "--quiet", *arguments], env=rabbitmq.environment(), check=True, timeout=60)

    mail.bury(b"{}", "m-0")
    ctl("set_disk_free_limit", "1000000GB")
    try:
        with pytest.raises(
            BrokerUnavailable, match="Lost the connection to RabbitMQ: Blocked connection timeout expired"
        ):
            dead_letters.replay(limit=10, actor="test")
    finally:
        ctl("set_disk_free_limit", "50MB")
    wait_until(lambda: mail.number(DEAD_QUEUE) == 1, "the letter is back")
    assert dead_letters.replay(limit=10, actor="test") == (1, set())


def test_a_payment_that_came_too_early_is_handled_once_it_was_sent_back(
    ana: Client, mail: Mail, clean_queues: str, tmp_path: Path
) -> None:
    held = factories.hold(factories.product({factories.SP: 5}).pk, 2)
    mail.bury(json.dumps({"order_id": str(held.order_id)}).encode(), "paid-7")
    assert told(ana, all="1") == ["Dead letters put back into the queue: 1."]
    with command("consume_events", url=clean_queues, log=tmp_path / "consumer.log") as consumer:
        wait_until(InboxMessage.objects.exists, "handled")
        assert consumer.stop() == 0
    handled = InboxMessage.objects.get()
    assert (handled.source, handled.message_id, handled.outcome) == ("payment.events", "paid-7", "confirmed")
    assert Reservation.objects.get(pk=held.id).status == "CONFIRMED"
    assert (mail.number(QUEUE), mail.number(DEAD_QUEUE)) == (0, 0)
    assert factories.broken_invariants() == []


# --- the command ---------------------------------------------------------------------------------------------------


def run(real: dict[str, str], *arguments: str, **environment: str) -> tuple[int, str, str]:
    """How the command ended: its code, what it printed without the log's lines, and what it complained of."""
    done = manage("replay_dead_letters", *arguments, env=real | {"LOG_LEVEL": "ERROR"} | environment)
    return done.returncode, done.stdout, done.stderr


def test_the_command_lists_them_and_leaves_them(real: dict[str, str], mail: Mail) -> None:
    mail.bury(b'{"order_id": "7"}', "m-1")
    mail.bury(b"\x1b[2J\xff\n" + b"x" * 300)
    mail.bury(b"{}", "\x1b]0;m-3\x07", **{"x-reason": "\u202eno\n"})
    key = {letter.message_id: letter.key for letter in dead_letters.look(limit=50)[1]}
    listed = [
        f'm-1  payment.confirmed  tries: 12  {REASON}\n    {{"order_id": "7"}}\n',
        f"{key[NO_ID]}  payment.confirmed  tries: 12  {REASON}\n    \\x1b[2J\\xff\\n{'x' * 187}...\n",
        f"{key[chr(27) + ']0;m-3' + chr(7)]}  payment.confirmed  tries: 12  \\u202eno\\n\n    {{}}\n",
    ]
    assert run(real, "--list") == (0, "".join(listed) + "Dead letters: 3.\n", "")
    assert run(real, "--list", "--limit", "1") == (0, listed[0] + "Dead letters: 3.\n", "")
    assert run(real, "--list", "--id", key[NO_ID]) == (0, listed[1] + "Dead letters: 3.\n", "")
    assert mail.number(DEAD_QUEUE) == 3


def test_letters_with_headers_that_cannot_be_read_are_listed_and_sent_back_too(
    real: dict[str, str], mail: Mail
) -> None:
    for name, value in amqp.UNREADABLE.items():
        ours = [amqp.header("x-exchange", amqp.text(b"order.events")), amqp.header("x-reason", amqp.text(b"of old"))]
        properties = amqp.RawHeaders(*ours, amqp.header("odd", value), message_id=name, delivery_mode=2)
        mail.channel.basic_publish("", DEAD_QUEUE, b"{}", properties, mandatory=True)
    listed = "".join(f"{name}  inventory.orders.dead  tries: 0  of old\n    {{}}\n" for name in amqp.UNREADABLE)
    assert run(real, "--list") == (0, f"{listed}Dead letters: {len(amqp.UNREADABLE)}.\n", "")
    assert run(real) == (0, f"Put back into the queue: {len(amqp.UNREADABLE)}.\n", "")
    assert [(name, headers["odd"]) for name, _, headers in mail.take()] == [(name, None) for name in amqp.UNREADABLE]


def test_the_command_sends_all_of_them_the_oldest_or_those_with_an_id(real: dict[str, str], mail: Mail) -> None:
    for message_id in ("m-0", "m-1", NO_ID, "m-3"):
        mail.bury(b"{}", message_id)
    key = dead_letters.look(limit=50)[1][2].key
    assert run(real, "--id", "m-3", "--id", key) == (0, "Put back into the queue: 2.\n", "")
    assert [message_id for message_id, _, _ in mail.take()] == [NO_ID, "m-3"]
    assert run(real, "--limit", "1") == (0, "Put back into the queue: 1.\n", "")
    assert run(real) == (0, "Put back into the queue: 1.\n", "")
    assert [message_id for message_id, _, _ in mail.take()] == ["m-0", "m-1"]
    assert run(real) == (0, "Put back into the queue: 0.\n", "")


def test_the_command_discards_what_is_named_and_nothing_else(real: dict[str, str], mail: Mail) -> None:
    for n in range(3):
        mail.bury(b"{}", f"m-{n}")
    unnamed = manage("replay_dead_letters", "--discard", env=real)
    assert (unnamed.returncode, unnamed.stderr) == (1, "CommandError: Name what to discard with --id.\n")
    done = manage("replay_dead_letters", "--discard", "--id", "m-1", env=real)
    assert done.returncode == 0
    assert "Discarded: 1.\n" in done.stdout
    assert "dead letters were discarded: 1, by command:replay_dead_letters" in done.stdout
    assert ids(dead_letters.look(limit=50)[1]) == ["m-0", "m-2"]
    assert mail.number(QUEUE) == 0


def test_the_log_tells_who_sent_how_many(real: dict[str, str], mail: Mail) -> None:
    mail.bury(b"{}")
    done = manage("replay_dead_letters", env=real | {"LOG_FORMAT": "json"})
    logged = [json.loads(line)["event"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert logged == ["dead letters were put back into the queue: 1, by command:replay_dead_letters"]


def test_an_id_that_no_letter_has_is_named_and_the_others_are_sent(real: dict[str, str], mail: Mail) -> None:
    mail.bury(b"{}", "m-0")
    mail.bury(b"{}", "m-1")
    sentence = "CommandError: Of the oldest {} dead letters none has the id {}.\n"
    assert run(real, "--id", "m-8", "--id", "m-1", "--id", "m-7") == (
        *(1, "Put back into the queue: 1.\n"),
        sentence.format(1000, "m-7, m-8"),
    )
    assert run(real, "--list", "--id", "m-7") == (1, "Dead letters: 1.\n", sentence.format(1000, "m-7"))
    assert [message_id for message_id, _, _ in mail.take()] == ["m-1"]
    assert mail.number(DEAD_QUEUE) == 1


def test_what_stands_against_it_is_said_in_one_line(real: dict[str, str], mail: Mail) -> None:
    nowhere = f"amqp://guest:secret@127.0.0.1:{free_port()}"
    for arguments in ((), ("--list",)):
        code, printed, complaint = run(real, *arguments, RABBITMQ_URL=nowhere)
        assert (code, printed) == (1, "")
        assert re.fullmatch(r"CommandError: RabbitMQ cannot be reached: [^\n]*Connection refused[^\n]*\.\n", complaint)
        assert "secret" not in complaint
        assert run(real, *arguments, RABBITMQ_URL="") == (
            *(1, ""),
            "CommandError: RABBITMQ_URL is not set; without RabbitMQ events go to the log.\n",
        )
    mail.channel.queue_delete(DEAD_QUEUE)
    for more in ((), ("--list",), ("--id", "m-1")):
        code, printed, complaint = run(real, *more)
        assert (code, printed) == (1, "")
        assert complaint.startswith("CommandError: RabbitMQ lacks what a consumer declares when it starts: NOT_FOUND")
        assert complaint.count("\n") == 1


@pytest.mark.parametrize("limit", ["0", "-1", "100001", "many", "1.5", "٣", ""])
def test_a_limit_that_makes_no_sense_is_a_usage_error(limit: str) -> None:
    done = manage("replay_dead_letters", f"--limit={limit}", env=environment(SECRET_KEY=KEY))
    assert done.returncode == 2
    assert f"argument --limit: {limit!r} is not a whole number from 1 to 100000" in done.stderr.splitlines()[-1]
