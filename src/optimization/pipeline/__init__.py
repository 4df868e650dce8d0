"""How does a wish for a change become a better answer, and how is it taken back? One change, hop by hop.

::

    propose ──> PROPOSED ── CANDIDATE ── GUARDED ── TESTED ── APPROVED ── CANARY ── PROMOTED ── MEASURED ── CLOSED
    status:     proposed   proposed     proposed   proposed  proposed    measuring  applied     confirmed
                                          │          │  ▲        ▲           │          │
                                          ▼          │  │ more   │ a person  ▼          ▼
                                       blocked       │  └ items  │ agrees   ROLLED_BACK: the version before is in use
                                          │          ├─> awaiting_approval   │
                                          │          ▼        │ refused      ▼
                                          └────────> rejected <┘ ───────> CLOSED: lesson kept, everybody told

What is confirmed is watched until the time has passed in which a drop takes a change back, and closed then. What cannot
be tested for too long is rejected, so that it is in nobody's way.

A queued suggestion is for a person: nothing follows from it by itself. CLOSED ends every change: what was learnt is in
the knowledge store and the lessons that were consulted know whether they helped.

Every hop is one transaction of its effect, the status and a row of the append-only ledger, so a process that is killed
anywhere goes on at the next hop and does none twice. Scoring, which is paid for, happens before that transaction: a
kill in the middle of it costs the scoring once more, never a second effect.

While the switch is on pause no hop is done by itself, not even a roll-back; a person's roll-back is.
"""
