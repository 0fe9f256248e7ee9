#!/usr/bin/env python3
"""A real small model behind llama.cpp's OpenAI-compatible server.

    llm_model.py PORT MODEL.gguf
"""
import sys, time
import xllamacpp

p = xllamacpp.CommonParams()
p.model.path = sys.argv[2]
p.n_ctx, p.n_parallel, p.cpuparams.n_threads = 2048, 1, 1
p.hostnames, p.port = ["127.0.0.1"], int(sys.argv[1])
server = xllamacpp.Server(p)
print("ready", flush=True)
time.sleep(600)
