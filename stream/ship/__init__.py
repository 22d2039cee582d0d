"""Records of our topics as documents of Elasticsearch, and the assets that say how these are indexed.

One table (`datasets`) tells for each topic which fields its documents have, of which type, and where each comes from;
both the documents and the mappings are made from it, so that they can't part.
"""
