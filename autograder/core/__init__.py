"""The words everyone uses: configuration, report and row types, text, files, times; imports nothing of ours."""
