"""Which rows are of one class, as the losses and minings of labelled rows are told.

    labels (n,), integers        two rows are of one class when their labels are equal
    labels (n, classes), bool    when they share at least one label
    same (n, m), bool            as the caller has compared them

The last two need not be transitive, and a row without any label is not of its own class. So
nothing may sort their rows by class: whoever uses them compares pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pytorch_impl.support.checks import (
    check_dtype,
    check_floating,
    check_labels,
    check_not_empty,
    check_rank,
    check_size,
    check_width,
)


class Classes(NamedTuple):
    """The rows that anchors are compared with, and of which class all of them are, as checked.

    Either `same` is None or both labels are: of rows with several labels there is `same`. Without a
    reference of its own, a batch is compared with itself: `of_batch` says so, and an anchor is then
    neither positive nor negative to itself.
    """

    reference: Tensor  # (m, features)
    labels: Tensor | None  # (n,) integers
    reference_labels: Tensor | None  # (m,) integers
    same: Tensor | None  # (n, m) bool
    of_batch: bool


def same_label(labels: Tensor, reference_labels: Tensor) -> Tensor:
    """Whether each row is of the class of each row of a reference, by their labels: (n, m), bool.

    Both are integers, (n,) and (m,), or both bool, (n, classes) and (m, classes).
    """
    if labels.dtype is torch.bool:  # the number of shared labels, by one matrix product
        return labels.float() @ reference_labels.float().T > 0
    return labels[:, None] == reference_labels


def class_pairs(
    embeddings: Tensor,
    labels: Tensor | None,
    reference: Tensor | None,
    reference_labels: Tensor | None,
    same: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rows that anchors are compared with, and which are positives and which negatives.

    Without a reference these are the rows of the batch, where an anchor is neither to itself.

    Args:
        embeddings: (n, features), the anchors, checked already.
        labels, reference_labels, same: as above.
        reference: (m, features) or None.
    Returns:
        The reference, (m, features), and what its rows are to each anchor, (n, m) bool twice.
    """
    classes = checked_classes(embeddings, labels, reference, reference_labels, same)
    return classes.reference, *pairs_of(classes)


def pairs_of(classes: Classes) -> tuple[Tensor, Tensor]:
    """Which rows are positives and which are negatives of each anchor, (n, m) bool twice."""
    _, labels, reference_labels, same, of_batch = classes
    if labels is not None and reference_labels is not None:
        same = same_label(labels, reference_labels)
    assert same is not None
    if not of_batch:
        return same, ~same
    positive, negative = same.clone(), ~same
    positive.diagonal().fill_(False)
    negative.diagonal().fill_(False)
    return positive, negative


def checked_classes(
    embeddings: Tensor,
    labels: Tensor | None,
    reference: Tensor | None,
    reference_labels: Tensor | None,
    same: Tensor | None,
) -> Classes:
    """The arguments of `class_pairs`, checked."""
    n = embeddings.shape[0]
    if reference is None:
        if reference_labels is not None:
            raise ValueError("reference_labels: expected None without a reference, got labels")
        labels, reference_labels, same = checked_relation(labels, same, n)
    else:
        check_floating("reference", reference, ndim=2)
        check_dtype("reference", reference, embeddings.dtype)
        check_width("reference", reference, embeddings.shape[1])
        check_not_empty("reference", reference)
        m = reference.shape[0]
        labels, reference_labels, same = checked_relation(labels, same, n, reference_labels, m)
    if labels is not None and reference_labels is not None and labels.dtype is torch.bool:
        labels, reference_labels, same = None, None, same_label(labels, reference_labels)
    if reference is None:
        return Classes(embeddings, labels, reference_labels, same, of_batch=True)
    return Classes(reference, labels, reference_labels, same, of_batch=False)


def checked_relation(
    labels: Tensor | None,
    same: Tensor | None,
    n_rows: int,
    reference_labels: Tensor | None = None,
    n_reference: int | None = None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Labels of n_rows rows and of the reference, or `same` in their place, as they are checked.

    Without a reference the rows are compared with each other. Returns (labels, labels of the
    reference, same): two labels and None, or None, None and same.
    """
    of_reference = n_reference is not None
    n_reference = n_rows if n_reference is None else n_reference
    if same is not None:
        if labels is not None:
            raise ValueError("same: expected labels=None beside it, got both")
        if reference_labels is not None:
            raise ValueError("reference_labels: expected None beside same, got both")
        _check_bool("same", same)
        check_rank("same", same, ndim=2)
        check_size("same", same, 0, n_rows, "rows")
        check_size("same", same, 1, n_reference, "columns")
        return None, None, same
    if labels is None:
        raise ValueError("labels: expected labels, or same in their place, got None")
    check_class_labels("labels", labels, n_rows)
    if reference_labels is None:
        if of_reference:
            raise ValueError("reference_labels: expected labels of the reference, got None")
        return labels, labels, None
    check_class_labels("reference_labels", reference_labels, n_reference)
    check_dtype("reference_labels", reference_labels, labels.dtype)
    if labels.dtype is torch.bool:
        check_size("reference_labels", reference_labels, 1, labels.shape[1], "classes")
    return labels, reference_labels, None


def check_class_labels(name: str, labels: Tensor, n_rows: int) -> None:
    """A label for each of n_rows rows, (n,) integers, or several, (n, classes) bool."""
    if isinstance(labels, Tensor) and labels.dtype is torch.bool and labels.ndim == 2:
        check_size(name, labels, 0, n_rows, "rows")
    else:
        check_labels(name, labels, n_rows)


def _check_bool(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    check_dtype(name, x, torch.bool)
