"""The smallest job of NVFLARE that does our benchmarks' work: averages one array that no site trains.

NVFLARE runs this file in its own environment, in two parts: `submit` makes the job and hands it to the server, as its
administrator; `site` is the script that each site runs.
"""

import sys
from pathlib import Path

import numpy as np


def submit(kit: str, sites: str, rounds: str, numbers: str, moves: str) -> None:
    """Hand in a job of so many rounds; the server reads the first array from a file."""
    from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
    from nvflare.recipe import ProdEnv

    first = Path("first.npy").resolve()
    np.save(first, np.random.default_rng(0).standard_normal(int(numbers), np.float32))  # as hard to compress as real weights
    recipe = NumpyFedAvgRecipe(
        name="speed", initial_ckpt=str(first), min_clients=int(sites), num_rounds=int(rounds),
        train_script=Path(__file__).name, train_args=f"site {moves}",
    )  # fmt: skip
    print("submitted", recipe.execute(ProdEnv(startup_kit_location=kit, username=Path(kit).name)).get_job_id())


def site(moves: str) -> None:
    """A site's answers: the array as it came, or moved by a number of the site's own."""
    import nvflare.client as flare

    flare.init()
    name = flare.get_site_name()
    own = np.float32(int(name.rpartition("-")[2]) / 1000)
    while flare.is_running() and (came := flare.receive()) is not None:
        weights = {key: value + own for key, value in came.params.items()} if moves == "True" else came.params
        flare.send(flare.FLModel(params=weights, meta={"NUM_STEPS_CURRENT_ROUND": 20}))


if __name__ == "__main__":
    {"submit": submit, "site": site}[sys.argv[1]](*sys.argv[2:])
