"""Decoders to choose from: what they make of one event. No state, no I/O.

A decoder is a function that takes a ``ServerSentEvent`` and gives what is handed out in its place:

- ``json_or_text`` gives the data parsed as JSON, and the text itself where it is no JSON. It never fails.
- ``text`` gives the data as it is: raw tokens, say.
- ``ServerSentEvent.json`` is the strict one: data that is no JSON is an error.

Any function of an event will do: ``def decode(event: ServerSentEvent) -> Model | Skip``. Where it gives
``SKIP``, the event is not handed out. Where it raises a ``ValueError``, that is the cause of a
``DecodeError``, which has the event; anything else that it raises is raised as it is. So what pydantic and
msgspec raise about data needs no translation:

- ``lambda event: Model.model_validate_json(event.data)`` for a model of pydantic, whose
  ``ValidationError`` is a ``ValueError``;
- ``lambda event: decoder.decode(event.data)`` for msgspec, with ``decoder = msgspec.json.Decoder(Model)``
  made once; its ``DecodeError`` and ``ValidationError`` are ``ValueError`` too.

A decoder is called between two events: it should be quick, and must not wait.
"""

from ._decode import Skip, json_or_text, text

__all__ = ["Skip", "json_or_text", "text"]
