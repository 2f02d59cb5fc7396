//! Policy text to compiled rules to a decision with its reason.
