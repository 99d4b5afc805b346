"""One limit over many nodes: how nodes tell each other what they accepted, or share a store of what is left."""
