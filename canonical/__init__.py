"""The shared language of every layer: entities, money, identifiers, states, events. No I/O."""
