"""The command line: parse, call one function, print. The only place that knows click; nobody imports it."""
