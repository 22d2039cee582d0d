"""Dashboards and alert rules of Kibana as code, beside the datasets whose fields they draw.

`panels` and `boards` say what is to be seen, `rules` when to be told; `lens` and `objects` turn these into what Kibana
imports. Ids are fixed, so that an import replaces what an earlier one made.
"""
