"""Every other database: a watermark on `updated_at` says what changed; enter at `store`."""
