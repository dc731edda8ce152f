"""CAMT.053 by hand: statements of one account, made of entries."""

from __future__ import annotations


def entry(
    amount: str,
    side: str = "CRDT",
    reference: str = "",
    details: str = "",
    status: str = "BOOK",
    day: str = "<Dt>2026-11-04</Dt>",
    currency: str = "EUR",
    reversal: str = "",
) -> str:
    back = f"<RvslInd>{reversal}</RvslInd>" if reversal else ""
    told = f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else ""
    return (
        f'<Ntry><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>{back}<Sts>{status}</Sts>'
        f"<BookgDt>{day}</BookgDt><ValDt><Dt>2026-11-05</Dt></ValDt>{told}<BkTxCd/>{details}</Ntry>"
    )


def payment(
    end_to_end: str, text: str, who: str = "<Dbtr><Nm>AMAZON PAYMENTS EUROPE</Nm></Dbtr>", amount: str = ""
) -> str:
    told = f'<AmtDtls><TxAmt><Amt Ccy="EUR">{amount}</Amt></TxAmt></AmtDtls>' if amount else ""
    return (
        f"<TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId></Refs>{told}<RltdPties>{who}</RltdPties>"
        f"<RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls>"
    )


def balance(kind: str, amount: str, side: str = "CRDT") -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>2026-11-04</Dt></Dt></Bal>'
    )


def statement(*entries: str, balances: str = "", account: str = "<IBAN>DE02120300000000202051</IBAN>") -> str:
    return f"<Stmt><Id>ST-1</Id><Acct><Id>{account}</Id><Ccy>EUR</Ccy></Acct>{balances}{''.join(entries)}</Stmt>"


def document(*statements: str, version: str = "02", head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    space = f"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"
    inside = "<GrpHdr><MsgId>M</MsgId></GrpHdr>" + "".join(statements)
    return f'{head}<Document xmlns="{space}"><BkToCstmrStmt>{inside}</BkToCstmrStmt></Document>'.encode()
