"""The form of a product: the module of `products` that writes and reads it; a list of images has none ("")."""

from .tables import table


def of_model(model):
    """The form of a class of stdatamodels."""
    return table("models").get(model, "")


def of_product(suffix, model=""):
    """The form of a product.

    Parameters
    ----------
    suffix : str
    model : str
        stdatamodels' class, where a chain's `save` names it.
    """
    row = table("products").get(suffix, {})
    usual = row.get("model", "")
    return row.get("form") or of_model(model or (usual if isinstance(usual, str) else ""))
