"""A review of a run: its queues, what the page shows of an image, and the decisions that come from the page."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.core.text import one_line
from darkroom.review.decisions import DecisionLog
from darkroom.review.evidence import Evidence, gather
from darkroom.review.proposals import NAME as PROPOSED
from darkroom.review.proposals import Proposals
from darkroom.review.queues import Queue, of_the_data, of_the_model
from darkroom.review.samples import Samples
from darkroom.review.unlabelled import PROPOSED as LIST
from darkroom.splits.corrections import DECISIONS, Correction, is_label

NEIGHBOURS, ANSWERS = 8, 9
WITHDRAWN = "none"
SMALL = 64  # pixels of a side, up to which a picture is enlarged in blocks
KINDS = ("relabel", "exclude", "keep", "unsure")


@dataclass(frozen=True)
class Change:
    """What the page asks for: a decision about a sample, or `none` to withdraw it; `becomes` of relabel."""

    id: str
    decision: str
    becomes: str = ""
    queue: str = ""
    note: str = ""


class Review:
    """The state of a review; all methods may be called from several threads."""

    def __init__(self, root: Path) -> None:
        self.samples = Samples(root)
        self.log = DecisionLog(root / self.samples.params["corrections"])
        self.evidence: Evidence | None = None
        self.queues = {queue.name: queue for queue in of_the_data(self.samples)}
        self.problem = ""
        self.proposals = _proposals(root, self.samples)
        self._followed, self._seen, self._lock = 0, 0, threading.Lock()
        self._follow()

    def analyse(self) -> None:
        """Ask the model about every image, and add the queues that follow; what prevents it is kept as `problem`."""
        try:
            evidence = gather(self.samples)
            queues = of_the_model(self.samples, evidence)
        except Exception as error:  # the page must not wait for ever, whatever is wrong with a run
            self.problem = str(error) if isinstance(error, DarkroomError) else f"{type(error).__name__}: {error}"
            say(f"review: {self.problem}")
            return
        self.queues = {queue.name: queue for queue in [*queues, *self.queues.values()]}
        self.evidence = evidence

    def state(self) -> dict[str, Any]:
        """Return queues, classes and counts of decisions: what the page shows beside the pictures."""
        version = self.version()  # before the counts: an answer never claims to be newer than it is
        decided, counts = self.log.decided(), dict.fromkeys(KINDS, 0)
        for correction in list(decided.values()):
            counts[correction.decision] += 1
        return {
            "version": version,
            "source": str(self.samples.params["source"]),
            "images": len(self.samples),
            "analysed": self.evidence is not None or bool(self.problem),
            "problem": self.problem,
            "queues": [self._queue_facts(queue) for queue in self._all_queues()]
            + ([self.proposals.facts()] if self.proposals else []),
            "classes": [{"name": name, "count": count, "learnt": learnt} for name, count, learnt in self._classes()],
            "decisions": counts,
            "corrections": self.log.path.name,
        }

    def version(self) -> int:
        """Return a number that grows with each change of the decisions, whoever made it."""
        self._follow()
        return self._seen

    def page(self, queue: str, start: int, count: int, is_open: bool) -> dict[str, Any]:
        """Return `count` samples of a queue from `start` on; `is_open`: of those without a decision."""
        if self.proposals and queue == PROPOSED:
            items, total = self.proposals.page(max(0, start), count, is_open)
            return {"total": total, "start": max(0, start), "version": self._seen, "items": items}
        found = self._queue(queue)
        order = found.order
        if is_open:
            order = order[~self.samples.decided[order]]
        shown = order[max(0, start) : max(0, start) + count].tolist()
        items = [self.item(index) | {"why": found.why(index)} for index in shown]
        return {"total": len(order), "start": max(0, start), "version": self._seen, "items": items}

    def tile(self, name: str) -> dict[str, Any]:
        """Return what a tile shows of the sample or photo with this id. Raises DarkroomError."""
        if self.proposals and name in self.proposals.position:
            return self.proposals.item(name)
        return self.item(self.index(name))

    def item(self, index: int) -> dict[str, Any]:
        """Return what a tile shows of a sample."""
        sample, decision = self.samples.all[index], self.log.decided().get(self.samples.all[index].key)
        return {
            "id": sample.id,
            "location": sample.location,
            "label": self.samples.label(index),
            "was": sample.label,
            "split": sample.split,
            "decision": decision.decision if decision else "",
            "proposal": self._proposal(index),
            "pictured": index < self.samples.pictured,
        }

    def detail(self, name: str, queue: str) -> dict[str, Any]:
        """Return all that is known of a sample. Raises DarkroomError where there is no such sample."""
        if self.proposals and name in self.proposals.position:
            return self.proposals.detail(name)
        index = self.index(name)
        sample, evidence = self.samples.all[index], self.evidence
        beside = self._queue(queue).beside(index) if queue in self.queues else -1
        nearest = evidence.nearest(index, NEIGHBOURS) if evidence else []
        decision = self.log.decided().get(sample.key)
        return self.item(index) | {
            "width": sample.width, "height": sample.height, "bytes": sample.bytes, "reason": sample.reason,
            "answers": self._answers(index),
            "beside": self.item(beside) if beside >= 0 else None,
            "nearest": [self.item(at) | {"alike": round(cosine, 4)} for at, cosine in nearest],
            "copies": [self.item(at) for at in self.samples.by_key[sample.key] if at != index],
            "note": decision.note if decision else "",
        }  # fmt: skip

    def decide(self, changes: Sequence[Change]) -> dict[str, Any]:
        """Write decisions; return what was decided before, as changes that undo them. Raises DarkroomError.

        `copies`: what tiles show of other samples that the decisions are about as well, since their bytes are the same.
        """
        if self.proposals and all(change.id in self.proposals.position for change in changes):
            checked = [(change.id, *self._checked(change), change.note) for change in changes]
            undo = self.proposals.decide(checked)
            self._follow()
            return {"undo": undo, "version": self._seen, "copies": []}
        wanted = self._wanted(changes)
        before = self.log.record(wanted)
        self._follow(wanted)
        undo = []
        for key, old in before.items():
            name = self.samples.all[self.samples.by_key[key][0]].id
            undo.append({"id": name, "decision": old.decision if old else WITHDRAWN,
                         "becomes": old.becomes if old else "", "note": old.note if old else ""})  # fmt: skip
        shown = {change.id for change in changes}
        copies = [
            index for key in wanted for index in self.samples.by_key[key] if self.samples.all[index].id not in shown
        ]
        return {"undo": undo, "version": self._seen, "copies": [self.item(index) for index in copies]}

    def index(self, name: str) -> int:
        """Return the index of the sample with this id. Raises DarkroomError."""
        if name not in self.samples.position:
            raise DarkroomError(f"{name[:100]!r} is not an image of this run; load the page again")
        return self.samples.position[name]

    def warnings(self) -> list[str]:
        """Return what would stop the next run as things are: classes that are left without a training image."""
        return [
            f"{name} has {count:,} image{'s' if count > 1 else ''}, and none of them is learnt from: correct or add a "
            "training image of it, or exclude it"
            for name, count, learnt in self._classes()
            if count and not learnt
        ]  # fmt: skip

    def _wanted(self, changes: Sequence[Change]) -> dict[str, Correction | None]:
        """Return the decision about each file. Raises DarkroomError where two changes of one file contradict."""
        wanted: dict[str, Correction | None] = {}
        for change in changes:
            index = self.index(change.id)
            key, correction = self.samples.all[index].key, self._correction(index, change)
            other = wanted.setdefault(key, correction)
            if (other and other.outcome) != (correction and correction.outcome):
                raise DarkroomError(
                    f"{self.samples.all[index].location} is the same file as another one that is selected, under "
                    "another label; decide about one of them"
                )
        return wanted

    def _correction(self, index: int, change: Change) -> Correction | None:
        decision, becomes = self._checked(change)
        if decision == WITHDRAWN:
            return None
        sample = self.samples.all[index]
        given = {self.samples.given(copy) for copy in self.samples.by_key[sample.key]}
        if decision == "keep" and len(given) > 1:  # the same bytes under two labels: this one is right
            decision, becomes = "relabel", sample.label
        elif becomes == sample.label and len(given) == 1:  # as the source has it
            decision, becomes = "keep", ""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        by = f"review: {change.queue}" if change.queue else "review"
        return Correction(sample.sha256, sample.id, decision, sample.label, becomes, one_line(by)[:100], when,
                          one_line(change.note)[:500])  # fmt: skip

    def _follow(self, own: dict[str, Correction | None] | None = None) -> None:
        """Take over what has changed in the file; `own`: what this process has just written."""
        with self._lock:
            version = self.log.refresh()
            if own is not None and version == self._followed + 1:
                self.samples.change(own)
            elif version != self._followed:
                self.samples.apply(dict(self.log.decided()))
            self._followed = version
            self._seen = version + (self.proposals.log.refresh() if self.proposals else 0)

    def _all_queues(self) -> list[Queue]:
        decided = np.flatnonzero(self.samples.decided)
        unsure = [index for index in decided.tolist()
                  if self.log.decided()[self.samples.all[index].key].decision == "unsure"]  # fmt: skip
        more = [
            Queue("unsure", "Not sure", "Set aside for later, or for somebody else.", np.array(unsure, np.int64),
                  len(unsure), lambda _: "set aside as not sure"),
            Queue("decided", "Decided", "Every decision so far; each can be changed or withdrawn.", decided,
                  len(decided), lambda _: ""),
        ]  # fmt: skip
        return [*self.queues.values(), *more]

    def _queue(self, name: str) -> Queue:
        if name.startswith("class:"):
            return self._class_queue(name.removeprefix("class:"))
        for queue in self._all_queues():
            if queue.name == name:
                return queue
        raise DarkroomError(f"there is no list {name[:100]!r}; load the page again")

    def _class_queue(self, label: str) -> Queue:
        """Return all samples with pixels that have a label now, the least likely first."""
        if label not in self.samples.classes:
            raise DarkroomError(f"there is no class {label[:100]!r}; load the page again")
        mine = np.flatnonzero(self.samples.labels[: self.samples.pictured] == self.samples.classes.index(label))
        if self.evidence and label in self.evidence.classes:
            own = self.evidence.probabilities[mine, self.evidence.classes.index(label)]
            mine = mine[np.argsort(np.nan_to_num(own, nan=2.0), kind="stable")]
        return Queue(f"class:{label}", label, "", mine, len(mine), lambda _: "")

    def _queue_facts(self, queue: Queue) -> dict[str, Any]:
        first = queue.order[: queue.count]
        is_open = int((~self.samples.decided[first]).sum())
        return {"name": queue.name, "title": queue.title, "about": queue.about, "count": queue.count,
                "open": is_open, "total": len(queue.order)}  # fmt: skip

    def _classes(self) -> list[tuple[str, int, int]]:
        return sorted(row for row in self.samples.counts() if row[1])

    def _answers(self, index: int) -> list[dict[str, Any]]:
        """Return the most probable classes of a sample, and its own label's: [] where it has no answer."""
        if self.evidence is None or index >= self.samples.pictured:
            return []
        row = self.evidence.probabilities[index]
        if not np.isfinite(row).all():
            return []
        best = np.argsort(-row, kind="stable")[:ANSWERS].tolist()
        own = self.samples.all[index].label
        if own in self.evidence.classes and self.evidence.classes.index(own) not in best:
            best.append(self.evidence.classes.index(own))
        return [{"class": self.evidence.classes[at], "probability": round(float(row[at]), 5)} for at in best]

    def _checked(self, change: Change) -> tuple[str, str]:
        """Return the decision and the new label that the page asks for. Raises DarkroomError for what is neither."""
        if change.decision not in (*DECISIONS, WITHDRAWN):
            raise DarkroomError(f"{change.decision[:100]!r} is not a decision; expected one of {', '.join(DECISIONS)}")
        if change.decision != "relabel":
            return change.decision, ""
        if change.becomes in self.samples.classes:  # as the source has it, blanks of any kind included
            return change.decision, change.becomes
        becomes = " ".join(change.becomes.split())
        if not is_label(becomes):
            raise DarkroomError("a new label needs at least one character, and no control characters")
        return change.decision, becomes

    def _proposal(self, index: int) -> dict[str, Any] | None:
        """Return the class that the model answers a sample with, where it is another than the label of the source."""
        if self.evidence is None or index >= self.samples.pictured:
            return None
        row = self.evidence.probabilities[index]
        best = int(np.nan_to_num(row, nan=-1.0).argmax())
        if math.isnan(row[best]) or self.evidence.classes[best] == self.samples.all[index].label:
            return None
        return {"class": self.evidence.classes[best], "probability": round(float(row[best]), 4)}


def _proposals(root: Path, samples: Samples) -> Proposals | None:
    """Return the photos to label next, if any were chosen for the run as it is; those that it learnt from since are
    samples of its own."""
    if not (root / LIST).exists():
        return None
    try:
        found = Proposals(root, Path(samples.params["added"]), samples.by_key)
    except (DarkroomError, KeyError, ValueError) as error:
        say(f"review: the photos of `darkroom next` are not shown: {error}; run it again")
        return None
    return found if found.names else None
