"""200 workflows at once in one event loop; each node asks a model that bears the node's number. llm_flows.py URL FLOWS NODES"""
import asyncio
import sys

import httpx
import openai


class Flow:
    def __init__(self, number, client):
        self.number, self.client = number, client

    async def node(self, index):
        answer = await self.client.chat.completions.create(model=f"m-{self.number}-{index}", messages=[{"role": "user", "content": "hi"}])
        return answer.choices[0].message.content

    async def run(self, nodes):
        half = nodes // 2
        for index in range(half):
            await self.node(index)
        await asyncio.gather(*[self.node(index) for index in range(half, nodes)])


async def main(url, flows, nodes):
    limits = httpx.Limits(max_connections=100)  # they wait for each other's connections, as in a service
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=httpx.AsyncClient(limits=limits, timeout=120))
    await asyncio.gather(*[Flow(n, client).run(nodes) for n in range(flows)])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
