"""Losses with arrays of their own, which model files hold and inference has no use for."""

from __future__ import annotations


class SoftNearestNeighborLoss:
    """The loss's learned 1/temperature."""

    @staticmethod
    def array_shapes(
        temperature: float = 1.0,
        learn_temperature: bool = False,
        distance: str = "sqeuclidean",
        reduction: str = "mean",
        block_size: int | None = None,
    ) -> dict[str, tuple[int, ...]]:
        """The arrays of a model file, for the configuration that the frameworks share."""
        return {"log_inverse_temperature": ()} if learn_temperature else {}


LOSSES = {"soft_nearest_neighbor_loss.SoftNearestNeighborLoss": SoftNearestNeighborLoss}
