"""What is asked of one problem before anything is bought for it.

settings    what the rules can be set to
row         the rules by name, in the order in which they are asked, and the kinds that each is for
normalise   the text of a prompt and of an answer without what its source put around them
one file a rule, or a few that look at the same thing
"""
