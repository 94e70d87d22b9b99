"""Hold a review of a run: its queues, the facts of an image for the page, and the decisions made on the page."""

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.review.decisions import Change, DecisionLog, corrections
from darkroom.review.evidence import Evidence, gather
from darkroom.review.proposals import NAME as PROPOSED
from darkroom.review.proposals import open_proposals
from darkroom.review.queues import Queue, of_answers, of_class, of_decisions, of_features, of_the_data
from darkroom.review.samples import Samples
from darkroom.splits.corrections import Correction

NEIGHBOURS, ANSWERS = 8, 9
KINDS = ("relabel", "exclude", "keep", "unsure")
Decided = Mapping[str, Correction | None]


class Review:
    """The state of a review; all methods may be called from several threads."""

    def __init__(self, root: Path) -> None:
        self.samples = Samples(root)
        self.log = DecisionLog(root / self.samples.params["corrections"])
        self.evidence: Evidence | None = None
        self.queues = {queue.name: queue for queue in of_the_data(self.samples)}
        self.problem, self.progress = "", "asking the model"  # what `analyse` does at present; "": it is done
        self.proposals = open_proposals(root, self.samples)
        self._steps: dict[int, tuple[DecisionLog, Decided, Decided]] = {}  # before and after each, by its number
        self._numbers = itertools.count(1)
        self._followed, self._seen, self._lock = 0, 0, threading.Lock()
        self._follow()

    def analyse(self) -> None:
        """Compute the evidence about every image and add its queues as they come; an error is kept as `problem`."""
        answers: dict[str, Queue] = {}
        of_data = self.queues
        try:
            for evidence in gather(self.samples, self._say):
                self.evidence = evidence
                answers = answers or {queue.name: queue for queue in of_answers(self.samples, evidence)}
                self.queues = answers | of_data  # the first list is there before the rest is computed
                if len(evidence.features):
                    self._say("looking for images that are alike")
                alike = {queue.name: queue for queue in of_features(self.samples, evidence)}
                self.queues = answers | alike | of_data
        except Exception as error:  # the page must not wait for ever, whatever the error
            self.problem = str(error) if isinstance(error, DarkroomError) else f"{type(error).__name__}: {error}"
            say(f"review: {self.problem}")
        self._say("")

    def _say(self, progress: str) -> None:
        self.progress = progress

    def state(self) -> dict[str, Any]:
        """Return queues, classes and counts of decisions: what the page shows beside the pictures."""
        version = self.version()  # before the counts, which may then only be newer
        decided, counts = self.log.decided(), dict.fromkeys(KINDS, 0)
        for correction in list(decided.values()):
            counts[correction.decision] += 1
        return {
            "version": version,
            "source": str(self.samples.params["source"]),
            "images": len(self.samples),
            "progress": self.progress,
            "lists": len(self.queues),
            "problem": self.problem,
            "queues": [queue.facts(self.samples) for queue in self._all_queues()]
            + ([self.proposals.facts()] if self.proposals else []),
            "classes": [{"name": name, "count": count, "learnt": learnt} for name, count, learnt in self._classes()],
            "decisions": counts,
            "corrections": self.log.path.name,
        }

    def version(self) -> int:
        """Return a number that grows with each change of the decisions, by any program."""
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
        return self.item(self.samples.index(name))

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
            vector = self.evidence.unit(self.proposals.features(name)) if self.evidence else None
            return self.proposals.detail(name) | {"nearest": self._alike(vector)}
        index = self.samples.index(name)
        sample, evidence = self.samples.all[index], self.evidence
        beside = self._queue(queue).beside(index) if queue in self.queues else -1
        vector = evidence.features[index] if evidence and index < len(evidence.features) else None
        decision = self.log.decided().get(sample.key)
        return self.item(index) | {
            "width": sample.width, "height": sample.height, "bytes": sample.bytes, "reason": sample.reason,
            "answers": self._answers(index),
            "beside": self.item(beside) if beside >= 0 else None,
            "nearest": self._alike(vector, index),
            "copies": [self.item(at) for at in self.samples.by_key[sample.key] if at != index],
            "note": decision.note if decision else "",
        }  # fmt: skip

    def decide(self, changes: Sequence[Change]) -> dict[str, Any]:
        """Write decisions; return the number of the step, which `undo` takes. Raises DarkroomError.

        `copies`: what tiles show of other samples that the decisions are about as well, since their bytes are the same.
        """
        if self.proposals and all(change.id in self.proposals.position for change in changes):
            log, wanted = self.proposals.log, self.proposals.corrections(changes, self.samples.classes)
        else:
            log, wanted = self.log, corrections(changes, self.samples)
        step = next(self._numbers)
        self._steps[step] = (log, self._record(log, wanted), wanted)
        shown = {change.id for change in changes}
        copies = [index for index in self._indices(wanted) if self.samples.all[index].id not in shown]
        return {"step": step, "version": self._seen, "copies": [self.item(index) for index in copies]}

    def rename(self, label: str, becomes: str, note: str) -> dict[str, Any]:
        """Relabel every sample that has a label now, those that the page does not show included; as `decide`."""
        queue = f"class:{label}"
        mine = [] if label not in self.samples.classes else np.flatnonzero(
            self.samples.labels == self.samples.classes.index(label)).tolist()  # fmt: skip
        if not mine:
            raise DarkroomError(f"no image is labelled {label[:100]!r} any more; load the page again")
        changes = [Change(self.samples.all[index].id, "relabel", becomes, queue, note) for index in mine]
        _, becomes = changes[0].checked(self.samples.classes)
        return self.decide(changes) | {"copies": [], "label": becomes, "count": len(mine)}

    def undo(self, step: int, name: str = "") -> dict[str, Any]:
        """Undo a step, except where somebody else has decided since. Raises DarkroomError.

        `step` 0: undo the decision about the sample or photo `name`, whoever made it and when, as the file has it.
        Returns the tiles of the images that are as before, and how many decisions stay as they are.
        """
        if step and step not in self._steps:
            raise DarkroomError("this step cannot be undone any more; load the page again")
        log, before, after = self._steps[step] if step else self._last_decision(name)
        undone = self._record(log, before, after)  # the step stays: whose answer was lost asks again
        if log is not self.log:
            items = [self.proposals.item(key) for key in undone] if self.proposals else []
        else:
            items = [self.item(index) for index in self._indices(undone)]
        return {"version": self._seen, "items": items, "undone": len(undone), "left": len(before) - len(undone)}

    def _last_decision(self, name: str) -> tuple[DecisionLog, Decided, Decided]:
        """Return the decision about a sample or photo as a step, from the file. Raises DarkroomError without one."""
        self._follow()
        if self.proposals and name in self.proposals.position:
            log, key = self.proposals.log, name
        else:
            log, key = self.log, self.samples.all[self.samples.index(name)].key
        if key not in log.decided():
            raise DarkroomError("nothing is decided about this picture any more; there is nothing to undo")
        return log, {key: log.before(key)}, {key: log.decided()[key]}

    def warnings(self) -> list[str]:
        """Return what would stop the next run: classes without a training image."""
        return [
            f"{name} has {count:,} image{'s' if count > 1 else ''}, and none of them is learnt from: correct or add a "
            "training image of it, or exclude it"
            for name, count, learnt in self._classes()
            if count and not learnt
        ]  # fmt: skip

    def _record(self, log: DecisionLog, changes: Decided, expected: Decided | None = None) -> Decided:
        """Write changes as `DecisionLog.record` does, and take them over."""
        before = log.record(changes, expected)
        self._follow({key: changes[key] for key in before} if log is self.log else None)
        return before

    def _follow(self, own: Decided | None = None) -> None:
        """Apply the changes in the file; `own`: those that this process has just written."""
        with self._lock:
            version = self.log.refresh()
            if own is not None and version == self._followed + 1:
                self.samples.change(dict(own))
            elif version != self._followed:
                self.samples.apply(dict(self.log.decided()))
            self._followed = version
            self._seen = version + (self.proposals.log.refresh() if self.proposals else 0)

    def _indices(self, keys: Decided) -> list[int]:
        return [index for key in keys for index in self.samples.by_key.get(key, ())]

    def _all_queues(self) -> list[Queue]:
        return [*self.queues.values(), *of_decisions(self.samples, self.log.decided())]

    def _queue(self, name: str) -> Queue:
        if name.startswith("class:"):
            return of_class(self.samples, self.evidence, name.removeprefix("class:"))
        for queue in self._all_queues():
            if queue.name == name:
                return queue
        raise DarkroomError(f"there is no list {name[:100]!r}; load the page again")

    def _classes(self) -> list[tuple[str, int, int]]:
        return sorted(row for row in self.samples.counts() if row[1])

    def _alike(self, vector: np.ndarray | None, index: int = -1) -> list[dict[str, Any]]:
        """Return the samples nearest to a row of the evidence's features, with their labels; `index`: its own."""
        if self.evidence is None or vector is None:
            return []
        return [self.item(at) | {"alike": round(cosine, 4)}
                for at, cosine in self.evidence.nearest(vector, NEIGHBOURS, index)]  # fmt: skip

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

    def _proposal(self, index: int) -> dict[str, Any] | None:
        """Return the class that the model answers a sample with, where it is another than the label of the source."""
        if self.evidence is None or index >= self.samples.pictured:
            return None
        row = self.evidence.probabilities[index]
        best = int(np.nan_to_num(row, nan=-1.0).argmax())
        if math.isnan(row[best]) or self.evidence.classes[best] == self.samples.all[index].label:
            return None
        return {"class": self.evidence.classes[best], "probability": round(float(row[best]), 4)}
