"""Which rows are of one class, as the losses and minings of labelled rows are told.

    labels (n,), integers        two rows are of one class when their labels are equal
    labels (n, classes), bool    when they share at least one label
    same (n, m), bool            as the caller has compared them

The last two need not be transitive, and a row without any label is not of its own class. So
nothing may sort their rows by class: whoever uses them compares pairs.
"""

from __future__ import annotations

import tensorflow as tf

from tf2_impl.support.checks import (
    check_dtype,
    check_floating,
    check_labels,
    check_not_empty,
    check_rank,
    check_size,
    check_width,
    size,
)


def same_label(labels: tf.Tensor, reference_labels: tf.Tensor) -> tf.Tensor:
    """Whether each row is of the class of each row of a reference, by their labels: (n, m), bool.

    Both are integers, (n,) and (m,), or both bool, (n, classes) and (m, classes).
    """
    if labels.dtype == tf.bool:  # the number of shared labels, by one matrix product
        labels, reference_labels = (tf.cast(x, tf.float32) for x in (labels, reference_labels))
        return tf.matmul(labels, reference_labels, transpose_b=True) > 0
    return labels[:, None] == reference_labels


def class_pairs(
    embeddings: tf.Tensor,
    labels: tf.Tensor | None,
    reference: tf.Tensor | None,
    reference_labels: tf.Tensor | None,
    same: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The rows that anchors are compared with, and which are positives and which negatives.

    Without a reference these are the rows of the batch, where an anchor is neither to itself.

    Args:
        embeddings: (n, features), the anchors, checked already.
        labels, reference_labels, same: as above.
        reference: (m, features) or None.
    Returns:
        The reference, (m, features), and what its rows are to each anchor, (n, m) bool twice.
    """
    n = size(embeddings, 0)
    if reference is None:
        if reference_labels is not None:
            raise ValueError("reference_labels: expected None without a reference, got labels")
        labels, reference_labels, same = checked_relation(labels, same, n)
    else:
        reference = tf.convert_to_tensor(reference)
        check_floating("reference", reference, ndim=2)
        check_dtype("reference", reference, embeddings.dtype)
        check_width("reference", reference, size(embeddings, 1))
        check_not_empty("reference", reference)
        m = size(reference, 0)
        labels, reference_labels, same = checked_relation(labels, same, n, reference_labels, m)
    if labels is not None:
        same = same_label(labels, reference_labels)
    assert same is not None
    if reference is not None:
        return reference, same, ~same
    others = ~tf.eye(tf.shape(same)[0], dtype=tf.bool)
    return embeddings, same & others, ~same & others


def checked_relation(
    labels: tf.Tensor | None,
    same: tf.Tensor | None,
    n_rows: int | tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    n_reference: int | tf.Tensor | None = None,
) -> tuple[tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]:
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
        same = tf.convert_to_tensor(same)
        check_dtype("same", same, tf.bool)
        check_rank("same", same, ndim=2)
        check_size("same", same, 0, n_rows, "rows")
        check_size("same", same, 1, n_reference, "columns")
        return None, None, same
    if labels is None:
        raise ValueError("labels: expected labels, or same in their place, got None")
    labels = tf.convert_to_tensor(labels)
    check_class_labels("labels", labels, n_rows)
    if reference_labels is None:
        if of_reference:
            raise ValueError("reference_labels: expected labels of the reference, got None")
        return labels, labels, None
    reference_labels = tf.convert_to_tensor(reference_labels)
    check_class_labels("reference_labels", reference_labels, n_reference)
    check_dtype("reference_labels", reference_labels, labels.dtype)
    if labels.dtype == tf.bool:
        check_size("reference_labels", reference_labels, 1, size(labels, 1), "classes")
    return labels, reference_labels, None


def check_class_labels(name: str, labels: tf.Tensor, n_rows: int | tf.Tensor) -> None:
    """A label for each of n_rows rows, (n,) integers, or several, (n, classes) bool."""
    if labels.dtype == tf.bool and labels.shape.rank == 2:
        check_size(name, labels, 0, n_rows, "rows")
    else:
        check_labels(name, labels, n_rows)
