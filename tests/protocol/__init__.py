"""The contract, rule by rule, against a real server: what an independent client's author would test."""
