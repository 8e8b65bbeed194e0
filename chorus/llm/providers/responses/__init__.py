"""The provider for OpenAI's Responses API.

`upstream` sends and reads; `request`, `items`, `tools` and `reasoning` write a request; `reading`,
`output_items` and `failures` read an answer; `background` follows a response that is made without
us."""
