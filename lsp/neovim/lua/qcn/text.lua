--- Pieces of a suggestion.
local M = {}

-- White space, line ends included, and then one word or one run of other characters.
local WORD = [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]]

--- What a key takes from the start of `text`: "all", "line" (with the line end before it) or "word".
function M.take(kind, text)
  if kind == "line" then
    return text:match("^\n*[^\n]*")
  end
  local word = kind == "word" and vim.fn.matchstr(text, WORD) or ""
  return word ~= "" and word or text
end

--- Row and byte column of the cursor, from 0.
function M.cursor()
  local place = vim.api.nvim_win_get_cursor(0)
  return place[1] - 1, place[2]
end

--- Put `text` in at the cursor, which then stands behind it: one step to undo.
function M.insert(text)
  local row, column = M.cursor()
  local lines = vim.split(text, "\n", { plain = true })
  vim.go.undolevels = vim.go.undolevels -- ends the undo step
  vim.api.nvim_buf_set_text(0, row, column, row, column, lines)
  local behind = #lines[#lines] + (#lines == 1 and column or 0)
  vim.api.nvim_win_set_cursor(0, { row + #lines, behind })
  vim.go.undolevels = vim.go.undolevels
end

return M
