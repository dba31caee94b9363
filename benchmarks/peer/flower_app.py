"""The smallest app of Flower that does our benchmarks' work: averages one array that no site trains.

Flower runs this file in its own environment; `benchmarks/peers.py` starts it. `server` notes the time before the
first round and at the end of every round.
"""

import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """A site's answer: the array as it came, or moved by a number of the site's own."""
    weights = message.content["arrays"].to_numpy_ndarrays()
    if context.run_config["moves"]:
        weights = [each + np.float32(context.node_config["own"]) for each in weights]
    answer = RecordDict({"arrays": ArrayRecord(weights), "metrics": MetricRecord({"num-examples": 20})})
    return Message(content=answer, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds. Evaluation at the sites is left out: it would send every model a second time."""
    asked = context.run_config

    def note(number: int, arrays: ArrayRecord) -> None:
        with open(asked["moments"], "a") as file:
            file.write(f"{time.time()}\n")

    sites = asked["sites"]
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
    weights = np.random.default_rng(0).standard_normal(asked["numbers"], np.float32)  # as hard to compress as real ones
    strategy.start(grid, ArrayRecord([weights]), num_rounds=asked["rounds"], evaluate_fn=note)
