"""Random numbers by which a site rounds its weights up or down, so that what is lost is nothing on average.

Rounding to the nearest step loses a change that is smaller than half a step, at every site and in every round; rounding at random
adds it up. The numbers follow from the site's seed and the round: a round that is asked again, in a simulation or after a
restart, gives the same bytes. They hide nothing and need not be secret.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from collegium.privacy.masks import derive


class Numbers:
    """An AES-256-CTR keystream as uint16 numbers, the next ones with each call: a standard's bytes, the same on any machine.

    >>> Numbers(7, 0, 1)(3).tolist() == Numbers(7, 0, 1)(5).tolist()[:3]
    True
    """

    def __init__(self, seed: int, stage: int, number: int) -> None:
        """For one site's `seed`, a stage and a round of it."""
        key = derive(seed.to_bytes(8, "big"), "rounding", stage, number)
        self.cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __call__(self, count: int) -> np.ndarray:
        return np.frombuffer(self.cipher.update(bytes(2 * count)), "<u2")
