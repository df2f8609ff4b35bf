"""An exhaustive explorer of what can happen to an upload, and the promises that hold in every state it finds."""
