"""The real template, deployed to MiniStack with the stock CDK command line, started, watched and destroyed."""
