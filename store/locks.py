"""The numbers of our advisory locks, all in one place, so that no two mean different things by the same one.

Any number will do, as long as nothing else in this database locks it.
"""

from __future__ import annotations

RELAY = 7_300_001  # whoever gives events their places
MIGRATION = 7_300_002  # whoever migrates; older versions wait for this number too
NIGHTLY = 7_300_003  # whoever does the nightly work
NEW_ORDERS = 7_300_004  # class; the key is an order's id
MAPPING = 7_300_005  # class; the key is a channel
PROPAGATION = 7_300_006  # whoever carries changes to the channels
RETURNS = 7_300_013  # class; the key is an order's id
CALL_MONTHS = 7_300_007  # whoever makes or drops months of the log of calls
SOURCING_RULES = 7_300_014  # whoever keeps a set of sourcing rules
UNIT_COSTS = 7_300_025  # whoever says what units cost
PRICES = 7_300_015  # class; the key is a channel: whoever keeps a change of its prices
PRICE_GUARDS = 7_300_016  # whoever keeps a set of guards of prices
PRICE_RULES = 7_300_024  # whoever keeps a set of rules of prices
TRANSACTIONS = 7_300_052  # class; the key is a channel: whoever changes what stands of its transactions
SHIPMENT_FEEDS = 7_300_041  # class; the key is a channel: whoever takes parcels for a file
BOOKS = 7_300_051  # whoever writes settlements, or ties their lines anew
JOURNALS = 7_300_053  # whoever closes a journal
BANK = 7_300_054  # whoever keeps lines of a bank, or finds payouts among them
