# For those who come from `just`; everything stands in the Makefile.

# Runs the whole suite
test:
    @make test

# Runs the tests with logs
test-debug:
    @make test-debug

# Runs the tests whose title has this text in it
test-one name:
    @make test-one NAME={{ quote(name) }}

# Measures
bench:
    @make bench
