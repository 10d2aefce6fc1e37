"""Augmentation that keeps identity: what a camera, a room or a line does to the same person.

A recipe's ``[augment]`` table names augmentations (`verify.training.augment.face.FACE`,
`verify.training.augment.voice.VOICE`), each with its probability or with a table of its options::

    [augment]
    flip = 0.5
    jpeg = { probability = 0.2, quality = [30, 90] }

All of it runs on the training device, on whole batches. Which samples are chosen and how strongly they are
changed is drawn on the host out of (seed, rank, step, name): the same on every device, never waiting for
the device, exactly repeated when a run is resumed, and not moved by other augmentations.
"""
