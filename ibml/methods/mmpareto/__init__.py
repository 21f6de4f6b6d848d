"""MMPareto: Pareto integration of joint and unimodal gradients."""
