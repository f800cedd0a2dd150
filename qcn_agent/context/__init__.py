"""What of a workspace belongs to an issue: ranked files and symbols."""
