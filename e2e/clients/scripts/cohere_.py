# Cohere's SDK, second version: it ranks.
import os

import cohere

env = os.environ
client = cohere.ClientV2(api_key=env["API_KEY"], base_url=env["BASE_URL"])
ranking = client.rerank(
    model="cohere/rerank-v4.0-fast", query="capital", documents=["Paris", "London", "Rome"], top_n=2,
    request_options={"additional_headers": {"x-aig-tag": env["TAG"]}},
)
assert [r.index for r in ranking.results] == [0, 1], ranking
print("seen-" + env["SCENARIO"])
