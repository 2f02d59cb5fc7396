//! The values a request becomes on its way.
