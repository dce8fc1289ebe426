"""What selected neurons are worth: what they can do alone, what their loss undoes, and how pure clusters are."""
