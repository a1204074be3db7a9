"""The real stacks on MiniStack, deployed by the CDK's own command line, and a run through them."""
