--- A suggestion, held against the buffer as it is now: what is typed of it need not be asked for again.
local text = require("qcn.text")

local M = {}

local function byte_column(line, position, encoding)
  return vim.str_byteindex(line, encoding, position.character, false)
end

--- From LSP's item for the cursor where it is now. Nil if it is not one that ends there.
function M.new(answer, client)
  local row, column = text.cursor()
  local line, begin = vim.api.nvim_get_current_line(), column
  if type(answer.insertText) ~= "string" then
    return nil
  end
  if answer.range then
    local first, last = answer.range.start, answer.range["end"]
    if first.line ~= row or last.line ~= row or byte_column(line, last, client.offset_encoding) ~= column then
      return nil
    end
    begin = byte_column(line, first, client.offset_encoding)
  end
  return {
    buf = vim.api.nvim_get_current_buf(),
    row = row,
    column = begin,
    before = line:sub(1, begin),
    after = line:sub(column + 1),
    text = answer.insertText,
    command = answer.command,
    client_id = client.id,
  }
end

--- What is still to come at the cursor; nil when the buffer or the cursor has gone another way.
function M.rest(item)
  local row, column = text.cursor()
  if vim.api.nvim_get_current_buf() ~= item.buf or row < item.row or (row == item.row and column < item.column) then
    return nil
  end
  local first = vim.api.nvim_buf_get_lines(item.buf, item.row, item.row + 1, false)[1] or ""
  if first:sub(1, item.column) ~= item.before or vim.api.nvim_get_current_line():sub(column + 1) ~= item.after then
    return nil
  end
  local typed = table.concat(vim.api.nvim_buf_get_text(item.buf, item.row, item.column, row, column, {}), "\n")
  if #typed < #item.text and vim.startswith(item.text, typed) then
    return item.text:sub(#typed + 1)
  end
  return nil
end

return M
