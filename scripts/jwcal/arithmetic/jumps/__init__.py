"""What cosmic rays leave around them: snowballs in the near-IR detectors, showers in MIRI's. The second half of the jump step."""
