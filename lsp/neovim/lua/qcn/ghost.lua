--- Text on the screen that is not in the buffer.
local M = {}

M.GROUP = "QcnGhost"
M.namespace = vim.api.nvim_create_namespace("qcn.ghost")

-- Virtual text does not expand tabs.
local function expanded(line, column, width)
  local parts = {}
  for index, part in ipairs(vim.split(line, "\t", { plain = true })) do
    if index > 1 then
      local gap = width - column % width
      parts[#parts + 1] = (" "):rep(gap)
      column = column + gap
    end
    parts[#parts + 1] = part
    column = column + vim.fn.strdisplaywidth(part)
  end
  return table.concat(parts)
end

--- Show `text` at a place (row and byte column from 0) in place of what was shown.
function M.show(buf, row, column, text)
  local width, line = vim.bo[buf].tabstop, vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1]
  local shown = {}
  for index, part in ipairs(vim.split(text, "\n", { plain = true })) do
    local start = index == 1 and vim.fn.strdisplaywidth(line:sub(1, column)) or 0
    shown[index] = { { expanded(part, start, width), M.GROUP } }
  end
  M.hide(buf)
  vim.api.nvim_buf_set_extmark(buf, M.namespace, row, column, {
    virt_text = shown[1],
    virt_text_pos = "inline",
    virt_lines = #shown > 1 and vim.list_slice(shown, 2) or nil,
    undo_restore = false,
  })
end

--- Show nothing.
function M.hide(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, M.namespace, 0, -1)
  end
end

return M
