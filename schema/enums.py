"""Every enum of the contract, registered once and taken from here: else import order decides whether the schema builds."""

from __future__ import annotations

import strawberry

from domain.bank import Doubt as BankDoubt
from domain.bank import MatchRule as BankMatchRule
from domain.chain import Gap as ReturnGapKind
from domain.chain import PieceKind as ReturnPieceKind
from domain.channel import LocationKind, Platform
from domain.charge import ChargeKind
from domain.drift import DriftKind
from domain.export import ExportFormat, ExportList
from domain.freshness import Freshness, OnStale
from domain.hold import HoldReason
from domain.journal import EntryKind as JournalEntryKind
from domain.journal import Layout as JournalLayout
from domain.label import LabelFormat, LabelStatus
from domain.ledger import EntryKind
from domain.mapping import TaskState as MappingTaskState
from domain.money_class import Event as MoneyEvent
from domain.money_class import MoneyClass
from domain.money_class import Part as MoneyPart
from domain.money_line import Cause as ResidualCause
from domain.money_line import Source as MoneySource
from domain.money_line import Stage as MoneyStage
from domain.money_words import Wording as MoneyWording
from domain.operation import ItemStatus, OperationStatus
from domain.order import CancelledBy, OrderStatus
from domain.order_compare import DifferenceCause
from domain.outbound import Feature as OutboundFeature
from domain.outbound import OutboundStatus, Whereabouts
from domain.outbound import Policy as OutboundPolicy
from domain.outbound import Speed as OutboundSpeed
from domain.outbound_return import ReturnCondition as OutboundReturnCondition
from domain.price import Action as PriceGuardAction
from domain.price import Origin as PriceOrigin
from domain.price_canary import CanaryState as PriceCanaryState
from domain.price_decision import Verdict as PriceVerdict
from domain.price_guard import GuardKind as PriceGuardKind
from domain.price_history import DriftCause as PriceDriftCause
from domain.price_history import EventKind as PriceEventKind
from domain.price_rules import Direction as PriceRuleDirection
from domain.price_rules import Holding as PriceRuleHolding
from domain.price_rules import Lacking as PriceRuleLacking
from domain.price_rules import Measure as PriceRuleMeasure
from domain.price_rules import Target as PriceRuleTarget
from domain.product import FulfilledBy
from domain.profit import ChangeKind as ProfitChangeKind
from domain.profit import Dimension as ProfitDimension
from domain.refund import Restock
from domain.repricing import Became as RepricingResult
from domain.residual import Band as ResidualAge
from domain.rule import RuleKind
from domain.settlement import SettlementKind
from domain.settlement_compare import ViewCause as SettlementViewCause
from domain.sourcing_rules import Goal as SourcingGoal
from domain.timeline import StepKind as OrderStepKind
from domain.tracking import RowKind as TrackingRowKind
from domain.webhook import DeliveryState as WebhookDeliveryState
from domain.webhook import WebhookFormat, WebhookState
from resolvers.cancel import CancelReason
from resolvers.settlement_file import FileState as SettlementFileState

__all__ = [
    "BankDoubt",
    "BankMatchRule",
    "CancelReason",
    "CancelledBy",
    "ChargeKind",
    "DifferenceCause",
    "DriftKind",
    "EntryKind",
    "ExportFormat",
    "ExportList",
    "Freshness",
    "FulfilledBy",
    "HoldReason",
    "ItemStatus",
    "JournalEntryKind",
    "JournalLayout",
    "LabelFormat",
    "LabelStatus",
    "LocationKind",
    "MappingTaskState",
    "MoneyClass",
    "MoneyEvent",
    "MoneyPart",
    "MoneySource",
    "MoneyStage",
    "MoneyWording",
    "OnStale",
    "OperationStatus",
    "OrderStatus",
    "OrderStepKind",
    "OutboundFeature",
    "OutboundPolicy",
    "OutboundReturnCondition",
    "OutboundSpeed",
    "OutboundStatus",
    "Platform",
    "PriceCanaryState",
    "PriceDriftCause",
    "PriceEventKind",
    "PriceGuardAction",
    "PriceGuardKind",
    "PriceOrigin",
    "PriceRuleDirection",
    "PriceRuleHolding",
    "PriceRuleLacking",
    "PriceRuleMeasure",
    "PriceRuleTarget",
    "PriceVerdict",
    "ProfitChangeKind",
    "ProfitDimension",
    "RepricingResult",
    "ResidualAge",
    "ResidualCause",
    "Restock",
    "ReturnGapKind",
    "ReturnPieceKind",
    "RuleKind",
    "SettlementFileState",
    "SettlementKind",
    "SettlementViewCause",
    "SourcingGoal",
    "TrackingRowKind",
    "WebhookDeliveryState",
    "WebhookFormat",
    "WebhookState",
    "Whereabouts",
]

strawberry.enum(Platform, description="What a channel runs on.")
strawberry.enum(LocationKind, description="Whose place it is.")
strawberry.enum(
    Freshness,
    description="LIVE: asked upstream just now. FRESH: inside maxAge. STALE: older than maxAge. UNKNOWN: never seen.",
)
strawberry.enum(
    OnStale,
    description="When nothing young enough can be had: answer it with its age, or fail with extensions.code TOO_STALE.",
)
strawberry.enum(
    OrderStatus,
    description=(
        "Where an order stands, over all platforms. PENDING: not to be shipped yet, as when it is not paid. "
        "ON_HOLD: not before somebody settles it at its channel, or while we hold what is open there (`holds`)."
    ),
)
strawberry.enum(
    CancelledBy, description="Who wanted units not to be sent: the buyer, we who sell, or the channel itself."
)
strawberry.enum(
    ChargeKind,
    description="What a part of a price is for. Taxes end in TAX; TAX alone is that of the goods where it is told apart.",
)
strawberry.enum(
    DifferenceCause,
    name="OrderDifferenceCause",
    description=(
        "MISSING_HERE: the channel tells it and we had never read it. MISSING_THERE: a side does not tell it. OLDER_HERE: we had "
        "an older version. STATUS, QUANTITY, TOTAL: the same version is told otherwise. LATE: it changed after we had read last. "
        "NOT_UNDERSTOOD: it lies in quarantine."
    ),
)
strawberry.enum(HoldReason, description="Why an order does not go on.")
strawberry.enum(CancelReason, description="Why an order is cancelled, as channels want to know.")
strawberry.enum(
    Restock,
    description="What becomes of refunded units. RETURN: they come back. CANCEL: they were never sent. NONE: they are gone.",
)
strawberry.enum(FulfilledBy, description="Who packs and ships: we do, or the channel (FBA).")
strawberry.enum(
    OperationStatus,
    description=(
        "SUCCEEDED: every item was verified. PARTIAL: finished, some items failed or are parked. "
        "PREVIEW: a dry run, which approveOperation can apply as it stands. AWAITING_APPROVAL: nothing leaves before it is "
        "approved."
    ),
)
strawberry.enum(
    ItemStatus,
    description=(
        "SENT: left the house. ACCEPTED: the platform took it. VERIFIED: read back and seen live. "
        "PARKED: the outcome is unknown and wants a person."
    ),
)
strawberry.enum(
    EntryKind,
    name="StockEntryKind",
    description=(
        "Why units moved. OPENING: the first count, as the place's keeper before us told it. EXPECTED: announced. "
        "RECEIPT: arrived. ADJUSTMENT: found, lost, broken. COUNT: counted; told is the difference. TRANSFER: to another "
        "own place. RETURN: came back. ALLOCATION: promised. RELEASE: promised no more. SHIPMENT: left."
    ),
)
strawberry.enum(
    RuleKind,
    name="StockRuleKind",
    description=(
        "What a rule says. SAFETY_STOCK: keep `units` back. MAXIMUM_SHOWN: show no more than `units`. CHANNEL_SHARE: the "
        "channel sells at most `percent`; `hard`: nobody else sells those. FBA_SHARE: what our own channels sell from FBA "
        "(`percent`, `cap`, `floor`, `maxAge`, `countries`, `excludedStates`). VELOCITY_BUFFER: keep back what others "
        "probably sell before the channel hears of it (`certainty`, `leastLag`). LAST_UNITS: at `units` or fewer only the "
        "fastest channel sells on. PRE_ORDER: sell `percent` of what is announced, at most `cap`, before it comes."
    ),
)
strawberry.enum(
    PriceGuardAction,
    name="PriceGuardAction",
    description="REFUSE: never sent, whoever asks. HOLD: not before somebody else has approved it.",
)
strawberry.enum(
    RepricingResult,
    name="RepricingResult",
    description=(
        "What came of working a price out. IDLE: it is so already. NONE: the rules make no price. HELD waits for a second person."
    ),
)
strawberry.enum(
    PriceGuardKind,
    name="PriceGuardKind",
    description=(
        "What a guard looks at. FLOOR: buyers never pay less than `amount`, or than the landed cost with `margin`. MAP: nor less "
        "than may be advertised. CEILING: nor more than `amount`, or than `factor` times what other listings of the SKU take. "
        "STEP: how far `up` and `down` from what is shown, in percent. DAY: from what buyers paid 24 hours ago. SHIFT: a moved "
        "point (x10, x100, x1000), or the amount of another currency. UNKNOWN: neither price nor cost is known. STOP_LOSS: "
        "more than `share` percent of a request's rows (of at least `rows`) move by more than `step` percent."
    ),
)
strawberry.enum(
    SourcingGoal,
    name="SourcingGoal",
    description=(
        "What is wanted, the less the better. GROUPS: units from later groups of places. PARCELS: places that an order is sent "
        "from. COST: by the rates. LATENESS: days after what was promised. DISTANCE: kilometers to the middle of the zone."
    ),
)
strawberry.enum(
    DriftKind,
    description=(
        "Why a number differs. UNSEEN_SALE: probably sold there. LOST_WRITE: it shows what it was told before. "
        "EXTERNAL_EDIT: somebody else wrote there. NOT_OFFERED: not for sale there any more. POOL_DISAGREEMENT: two "
        "marketplaces tell one FBA pool differently."
    ),
)
strawberry.enum(
    MappingTaskState,
    name="MappingTaskState",
    description=(
        "OPEN: nobody has said what it means. ANSWERED: somebody has. IGNORED: it stays as the channel spells it, and nobody is "
        "asked any more."
    ),
)
strawberry.enum(WebhookState, description="Whether anything is delivered.")
strawberry.enum(
    WebhookFormat,
    description="CLOUDEVENTS: the envelope of CloudEvents 1.0. FLAT: one object without objects in it, for tools that map.",
)
strawberry.enum(
    WebhookDeliveryState,
    name="WebhookDeliveryState",
    description="PENDING: it waits. DELIVERED: it was taken. FAILED: not for a day, while others were.",
)
strawberry.enum(
    OrderStepKind,
    name="OrderStepKind",
    description=(
        "What a step was. ALLOCATED: units were promised at places of ours, or given back. TRACKED: somebody told of a parcel. "
        "CONFIRMED: its channel shows the parcel. OUTBOUND: another platform's stock ships it. "
        "SENT, ACCEPTED, VERIFIED, FAILED, PARKED: how a write to its channel went."
    ),
)
strawberry.enum(
    OutboundSpeed,
    name="OutboundSpeed",
    description="How fast a pool ships. PRIORITY and SCHEDULED exist in a few countries only.",
)
strawberry.enum(
    OutboundPolicy,
    name="OutboundPolicy",
    description=(
        "What happens when units are missing. FILL_OR_KILL: nothing is shipped. FILL_ALL: what is there is, and the rest waits. "
        "FILL_ALL_AVAILABLE: what is there is, and the rest is dropped."
    ),
)
strawberry.enum(
    OutboundFeature,
    name="OutboundFeature",
    description=(
        "What the parcel must be. BLANK_BOX: without the platform's brand. BLOCK_AMZL: not carried by its own drivers. "
        "SIGNATURE_CONFIRMATION: signed for."
    ),
)
strawberry.enum(
    OutboundStatus,
    description=(
        "Where it stands. RECEIVED can still be canceled; of PROCESSING only the platform knows. PARTLY_COMPLETE, UNFULFILLABLE, "
        "INVALID: what has not left is for other places to ship."
    ),
)
strawberry.enum(
    OutboundReturnCondition,
    name="OutboundReturnCondition",
    description="As the pool found a unit. CARRIER_DAMAGED, FULFILLER_DAMAGED: the platform owes for it.",
)
strawberry.enum(
    Whereabouts,
    description="Where a parcel is. OTHER: the platform's word tells of something else than its place.",
)
strawberry.enum(TrackingRowKind, name="TrackingRowKind", description="PARCEL: one has left. EVENT: where one is.")
strawberry.enum(
    LabelFormat, description="What the printer understands. ZPL203 and ZPL300: ZPL with so many dots an inch."
)
strawberry.enum(
    LabelStatus,
    description=(
        "REFUND_PENDING: asked back, and the carrier decides. REFUND_REFUSED: it was used, or asked back too late; it stays "
        "paid for."
    ),
)
strawberry.enum(
    ReturnPieceKind,
    name="ReturnPieceKind",
    description="What happened to units that come back. REIMBURSED: the channel pays for what it lost or broke.",
)
strawberry.enum(
    ReturnGapKind,
    name="ReturnGapKind",
    description=(
        "A link that a chain lacks. NOT_BACK: announced or refunded, and nothing came. NOT_RESTOCKED: it came, and was neither "
        "restocked nor written off. NOT_REIMBURSED: lost or broken by the channel that takes back, and not paid."
    ),
)
strawberry.enum(
    PriceRuleDirection,
    name="PriceRuleDirection",
    description="Where prices are rounded to; NEAREST takes the lower one of two.",
)
strawberry.enum(
    PriceRuleHolding, name="PriceRuleHolding", description="What becomes of a price while the featured offer is ours."
)
strawberry.enum(
    PriceRuleLacking,
    name="PriceRuleLacking",
    description="When a rule lacks what it needs. STOP: the listing gets no price. SKIP: the rule is left out.",
)
strawberry.enum(
    PriceRuleMeasure,
    name="PriceRuleMeasure",
    description="How stock is counted: in units that can be sold, or in days until they are.",
)
strawberry.enum(
    PriceRuleTarget,
    name="PriceRuleTarget",
    description=(
        "FEATURED: the offer that buyers meet first, with its shipping. EXPECTED: the price at or below which the channel "
        "expects ours to be it."
    ),
)
strawberry.enum(
    PriceOrigin,
    name="PriceOrigin",
    description="By which way a price was asked for. SALE: one that began or ended where the channel keeps no times.",
)
strawberry.enum(
    PriceVerdict,
    name="PriceVerdict",
    description=(
        "APPROVE: its rows are released. CANCEL: what has not left is withdrawn. REVERT: what it changed is taken back. "
        "RETRY: what came to nothing is tried again."
    ),
)
strawberry.enum(
    PriceCanaryState,
    name="PriceCanaryState",
    description=(
        "PASSED: the rest has gone, too. HALTED: it did badly; the rest was cancelled, and what had gone is taken back. "
        "RELEASED, CANCELLED: decided by a person before it was over; CANCELLED, too, where something newer overtook all of it, "
        "or its channel answered for none of it."
    ),
)
strawberry.enum(
    PriceEventKind,
    name="PriceEventKind",
    description=(
        "ASKED: released to its channel. LIVE: seen there, as it was asked for. OTHER: seen there, though we had asked for "
        "something else, or nothing. FAILED: what was asked for did not come about."
    ),
)
strawberry.enum(
    PriceDriftCause,
    name="PriceDriftCause",
    description=(
        "UNDER_WAY: not seen there yet. PARKED, FAILED: it wants a person. CHANGED_THERE: it was seen there, and somebody has "
        "changed it since."
    ),
)
strawberry.enum(
    MoneyEvent,
    name="MoneyEvent",
    description="SALE: of an order's sale. REFUND: something of it is given back. ACCOUNT: of no order.",
)
strawberry.enum(
    MoneyClass,
    name="MoneyClass",
    description=(
        "What an amount is for, whichever words its channel has. UNCLASSIFIED: its words are in no table; they count as fees, "
        "and are told beside them."
    ),
)
strawberry.enum(
    MoneyPart,
    name="MoneyPart",
    description=(
        "Where an amount stands: profit = REVENUE - FEES - REFUNDS - cost. TAX is of a state, BALANCE only moves between books; "
        "both are in no profit. UNCLASSIFIED counts as a fee."
    ),
)
strawberry.enum(
    MoneySource,
    name="MoneySource",
    description=(
        "Who told it. SETTLEMENT: a settlement or payout, which are the books. TRANSACTION: what the channel tells in the "
        "meantime. ESTIMATE: our own reckoning of what nobody has billed yet."
    ),
)
strawberry.enum(
    MoneyStage,
    name="MoneyStage",
    description=(
        "How sure it is. ESTIMATED: reckoned by us. DEFERRED: held back by the channel. RELEASED: ours, not paid yet. SETTLED: "
        "in a settlement."
    ),
)
strawberry.enum(ProfitDimension, name="ProfitDimension", description="What profit can be told by.")
strawberry.enum(
    ProfitChangeKind,
    name="ProfitChangeKind",
    description=(
        "Why profit is told otherwise than before. SETTLEMENT: a settlement or payout was kept. TRANSACTION: the channel told of "
        "money in the meantime. ESTIMATE: what nobody has billed yet was reckoned anew. MENDED: lines of settlements are "
        "understood better, by rules, by words that were classified, or by a person. RESTOCK: units are back in stock. COST: "
        "another revision of a cost. RATE: rates of exchange were told later, or mended."
    ),
)
strawberry.enum(
    ResidualAge,
    name="ResidualAge",
    description="For how long a line has been open: less than 7 days, than 30, than 90, or longer.",
)
strawberry.enum(
    MoneyWording,
    name="MoneyWording",
    description=(
        "Whose words for money they are: of Amazon's settlement files, of its transactions, of Shopify Payments, or of the "
        "payment provider of a self-built shop."
    ),
)
strawberry.enum(
    ResidualCause,
    name="ResidualCause",
    description=(
        "Why a line is not tied out. ORDER_UNKNOWN: it names an order, shipment or adjustment that is not here. LINE_UNKNOWN: of "
        "an order here, and none of its lines, or more than one, could be meant. SKU_UNMAPPED: the channel's SKU is mapped to "
        "none of ours. UNCLASSIFIED: its words are in no table. UNAPPORTIONED: how much of it is tax cannot be told."
    ),
)
strawberry.enum(
    JournalEntryKind,
    name="JournalEntryKind",
    description=(
        "What an entry books. LINES: the lines of a settlement. GOODS: what its units had cost, or what came back to the shelf. "
        "PAYOUT: its total, on the way to the bank."
    ),
)
strawberry.enum(
    JournalLayout,
    name="JournalLayout",
    description=(
        "Who is to read it. CSV: a row for each side of each entry. DATEV: a batch of postings (EXTF). QUICKBOOKS: journal "
        "entries for QuickBooks Online."
    ),
)
strawberry.enum(
    BankMatchRule,
    name="BankMatchRule",
    description=(
        "By what a bank's line was told to be a payout. REFERENCE: it names the payout, and the amount is the payout's. "
        "AMOUNT_DATE: same amount within days, and neither has another one. PERSON: somebody said so."
    ),
)
strawberry.enum(
    BankDoubt,
    name="BankDoubt",
    description=(
        "Why a line is not taken for a payout. SEVERAL: another one is as good. AMOUNT_DIFFERS, CURRENCY_DIFFERS: it names the "
        "payout and is another amount, or was converted. DATE_DIFFERS: the amount is the payout's, and the day is not."
    ),
)
strawberry.enum(
    SettlementKind,
    name="SettlementKind",
    description="SETTLEMENT: a marketplace's statement of a period. PAYOUT: what a shop's payments pay out.",
)
strawberry.enum(
    SettlementFileState,
    name="SettlementFileState",
    description="READING: it is read, or will be. KEPT: its settlement is in the books. REFUSED: nothing of it is.",
)
strawberry.enum(
    SettlementViewCause,
    name="SettlementViewCause",
    description="Why a settlement and the transactions before it do not tell the same of an order.",
)
strawberry.enum(
    ExportFormat,
    name="ExportFormat",
    description=(
        "CSV: columns by name in the first line, a text that a spreadsheet would take for a formula behind an apostrophe. JSONL: "
        "an object a line. Amounts are decimals as text, instants UTC."
    ),
)
strawberry.enum(
    ExportList,
    name="ExportList",
    description=(
        "What can be had as a file. All of them want the scope finance:read but ORDERS, a row for each line without anything of "
        "buyers, and RETURNS, which want orders:read."
    ),
)
