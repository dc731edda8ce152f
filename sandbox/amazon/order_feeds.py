"""Feeds about orders: messages are XML, and so is the report, which names only what was not carried out."""

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from sandbox.amazon.auth import Account
from sandbox.amazon.state import Amazon

CONTENT_TYPE = "text/xml; charset=UTF-8"
_LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message was not carried out."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class OrderFeed:
    """A type of feed: `message` is the type of its messages, `carry_out` does what one says (None: it is well)."""

    type: str
    message: str
    carry_out: Callable[[Amazon, Account, Element, str], Fault | None]

    def messages(self, account: Account, text: bytes) -> list[Element] | None:
        """The messages of a file; None for one that is none, is of another merchant, or numbers two alike."""
        try:
            root = ElementTree.fromstring(text)  # noqa: S314  what tests and demos send
        except ElementTree.ParseError:
            return None
        right = root.tag == "AmazonEnvelope" and root.findtext("MessageType") == self.message
        if not right or root.findtext("Header/MerchantIdentifier") != account.seller:
            return None
        found = root.findall("Message")
        numbers = [one.findtext("MessageID", "") for one in found]
        numbered = all(one.isascii() and one.isdigit() and len(one) <= _LONGEST_NUMBER for one in numbers)
        return found if numbered and len(set(numbers)) == len(numbers) else None

    def worked(self, amazon: Amazon, account: Account, feed_id: str, told: list[Element]) -> bytes:
        """Carry the messages out; the processing report."""
        faults = [(one.findtext("MessageID", ""), self._carried_out(amazon, account, one, feed_id)) for one in told]
        wrong = [(number, fault) for number, fault in faults if fault is not None]
        return _report(account, feed_id, len(told), wrong)

    def _carried_out(self, amazon: Amazon, account: Account, message: Element, feed_id: str) -> Fault | None:
        said = message.find(self.message)
        order = amazon.orders.get("" if said is None else said.findtext("AmazonOrderID", ""))
        if said is None or order is None or order.account is not account:
            return Fault("18028", "The order id is invalid, or the order is not yours.")
        return self.carry_out(amazon, account, said, feed_id)


def _report(account: Account, feed_id: str, count: int, wrong: list[tuple[str, Fault]]) -> bytes:
    envelope = Element("AmazonEnvelope")
    header = SubElement(envelope, "Header")
    SubElement(header, "DocumentVersion").text = "1.02"
    SubElement(header, "MerchantIdentifier").text = account.seller
    SubElement(envelope, "MessageType").text = "ProcessingReport"
    message = SubElement(envelope, "Message")
    SubElement(message, "MessageID").text = "1"
    report = SubElement(message, "ProcessingReport")
    SubElement(report, "DocumentTransactionID").text = feed_id
    SubElement(report, "StatusCode").text = "Complete"
    summary = SubElement(report, "ProcessingSummary")
    counts = {"Processed": count, "Successful": count - len(wrong), "WithError": len(wrong), "WithWarning": 0}
    for name, number in counts.items():
        SubElement(summary, f"Messages{name}").text = str(number)
    for id, fault in wrong:
        result = SubElement(report, "Result")
        SubElement(result, "MessageID").text = id
        SubElement(result, "ResultCode").text = "Error"
        SubElement(result, "ResultMessageCode").text = fault.code
        SubElement(result, "ResultDescription").text = fault.words
    told_back: bytes = ElementTree.tostring(envelope, encoding="utf-8", xml_declaration=True)
    return told_back
