"""What all HTTP sides share: the server, who may see what, errors as documents, the layout of pages."""
