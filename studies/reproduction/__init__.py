"""Reproduction of the experiment of arXiv 2202.07432 from its description, with several seeds and intervals over them.

Protocol. Images x of 32×32 codes in [0, 1]; images of 28×28 are padded with zeros first. LeNet with tanh and dropout is trained
behind each arm (`arms`) by Adam on cross-entropy, in batches of 128: 20 epochs at a learning rate of 10⁻³, then 5 at 10⁻⁵. Its
accuracy on the test images is measured in two kinds of sweep (`sweeps`): x → x − μ, and x → (x − m)/σ + m, where m is the mean of
an image; neither is clipped or rounded. Every network is trained and tested once per seed. The published numbers are of one seed;
each is compared with the interval of one more seed of ours (`verdicts`).

Budgets (`settings.BUDGETS`): *full* is the published one; *notebook*, another schedule of the authors', *fast* and *long* help to
explain what is not reproduced; *reduced* has 20,000 training images and 5 epochs, the last of them at the low rate; *smoke* only
checks that everything runs. A folder may hold several budgets, data sets and arms, run one after the other; its tables and its
report cover all of them.
"""
