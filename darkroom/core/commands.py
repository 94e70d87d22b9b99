"""List the subcommands of `darkroom`: the module and the line of help of each."""

# name: (module, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "predict": ("darkroom.serve.predict", "classify pictures, folders of them, or standard input"),
    "lr-find": ("darkroom.search.lr_find", "suggest a learning rate by a range test, and draw its curve"),
    "compare": ("darkroom.reporting.compare", "test whether a run is really better than another"),
    "repeats": ("darkroom.search.repeats", "train with several seeds: is the recipe better, not just the model?"),
    "verify": ("darkroom.reproduction.verify", "run a commit again and compare the results"),
    "sweep": ("darkroom.search.sweep", "search params, every trial a DVC experiment"),
    "race": ("darkroom.search.race", "find the backbone that suits these images"),
    "learning-curve": ("darkroom.search.learning_curve", "forecast what more images would bring"),
    "review": ("darkroom.review.command", "look at doubtful images and correct their labels, in the browser"),
    "next": ("darkroom.review.next_photos", "choose which unlabelled photos to label next"),
    "group": ("darkroom.review.grouping", "group photos without labels into classes to be named"),
    "labels": ("darkroom.review.exchange", "exchange labels with Label Studio, FiftyOne and cleanlab"),
    "report": ("darkroom.reporting.report", "write everything about this run into one HTML file"),
    "new": ("darkroom.reproduction.new", "make a project of your own, pinned to this version"),
    "upgrade": ("darkroom.reproduction.upgrade", "merge a later version of Darkroom into your project"),
    "drift": ("darkroom.reporting.drift", "test whether the pictures that a service receives have changed"),
    "serve": ("darkroom.serve.server", "answer over HTTP, with a page to try the model on"),
}
