"""The published experiment of arXiv 2202.07432, made again from its description, with the intervals that one seed cannot give.

Protocol. Images x of 32×32 codes in [0, 1], 28×28 ones padded with zeros first. Behind each arm (`arms`) LeNet with hyperbolic
tangents and dropout is trained by Adam on cross-entropy, in batches of 128: 20 epochs at a rate of 10⁻³, then 5 at 10⁻⁵. What it
tells right of the test images is then measured in two sweeps (`sweeps`): x → x − μ, and x → (x − m)/σ + m, where m is an image's
own mean; neither clipped nor rounded. Every network is trained and tested once a seed; what is published of one seed is compared
with the interval in which one more seed of ours would lie (`verdicts`).

Budgets (`cells.BUDGETS`): *full* is the published one; *notebook*, another schedule of the authors', *fast* and *long* serve to
look into what is not reproduced; *reduced* has 20,000 training images and 5 epochs, the last of them at the low rate; *smoke* is
a check that everything runs. A folder may hold several budgets, data sets and arms, run one after the other; its tables and its
report tell of all of them.
"""
