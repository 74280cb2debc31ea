"""Whether a model looks at the lungs: masks, what removing them does, and where heat-maps lie."""
