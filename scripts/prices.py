#!/usr/bin/env python3
"""Writes the built-in price list from the table that the litellm package carries (its file model_prices_and_context_window*.json).

    scripts/prices.py VERSION TABLE.json >user/protocol/prices.yaml
"""
import json, re, sys

PROVIDERS = {"openai": "openai", "text-completion-openai": "openai", "azure": "azure.ai.openai", "anthropic": "anthropic",
             "gemini": "gcp.gemini", "mistral": "mistral_ai", "bedrock": "aws.bedrock", "bedrock_converse": "aws.bedrock",
             "deepseek": "deepseek", "xai": "x_ai", "groq": "groq", "cohere": "cohere", "cohere_chat": "cohere"}
MODES = ("chat", "completion", "responses", "embedding")


def number(usd_a_token):
    return f"{usd_a_token * 1e6:.6f}".rstrip("0").rstrip(".") or "0"


def main():
    version, table = sys.argv[1], json.load(open(sys.argv[2]))
    print(f"""# What calls of language models cost: list prices in US dollars for a million tokens. The first entry whose provider and
# model fit is taken (`*` stands for anything); a model that isn't listed has no cost. `up_to`: the prompt's tokens up to which
# it holds; a longer one has no cost, for its price is another. Replace the whole list with --prices FILE.
# Compiled from the table in litellm {version} by scripts/prices.py. Prices change: check yours.
prices:""")
    seen = set()
    for key, p in sorted(table.items()):
        provider, model = PROVIDERS.get(p.get("litellm_provider")), key.split("/")[-1]
        if not provider or p.get("mode") not in MODES or "input_cost_per_token" not in p or key.count("/") > 1 or ":ft" in key or \
                key.startswith("ft:") or (provider, model) in seen or len(model) > 79:
            continue
        if p["litellm_provider"].startswith("bedrock") and "/" in key:
            continue
        seen.add((provider, model))
        line = {"provider": provider, "model": json.dumps(model), "input": number(p["input_cost_per_token"])}
        if p.get("mode") != "embedding" and "output_cost_per_token" in p:
            line["output"] = number(p["output_cost_per_token"])
        for ours, theirs in (("cache_read", "cache_read_input_token_cost"), ("cache_write", "cache_creation_input_token_cost")):
            if p.get(theirs) is not None:
                line[ours] = number(p[theirs])
        tiers = [int(m.group(1)) * 1000 for k in p if (m := re.match(r"input_cost_per_token_above_(\d+)k_tokens$", k))]
        if tiers:
            line["up_to"] = min(tiers)
        print("  - { " + ", ".join(f"{k}: {v}" for k, v in line.items()) + " }")


if __name__ == "__main__":
    main()
