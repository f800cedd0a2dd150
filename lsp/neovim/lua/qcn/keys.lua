--- Keys that accept, and that do what they did before when there is nothing to accept.
local M = {}

local count = 0

local function raw(key)
  return vim.keycode(key)
end

-- The user's own mapping of a key for all buffers, as it is at this moment: plugins may set it later than us.
local function global_mapping(key)
  local wanted = raw(key)
  for _, mapping in ipairs(vim.api.nvim_get_keymap("i")) do
    if mapping.lhsraw == wanted or mapping.lhsrawalt == wanted then
      return mapping
    end
  end
end

-- Vim does not map the key again with which a mapping's own expansion begins; under another name we must see to it.
local function guarded(keys, key, plain)
  local mapped = raw(key)
  return vim.startswith(keys, mapped) and raw(plain) .. keys:sub(#mapped + 1) or keys
end

local function evaluated(mapping)
  local rhs = mapping.rhs and mapping.rhs:gsub("<SID>", ("<SNR>%d_"):format(mapping.sid))
  local keys = rhs
  if mapping.callback then
    keys = mapping.callback()
  elseif mapping.expr == 1 then
    keys = vim.api.nvim_eval(rhs)
  end
  return mapping.replace_keycodes ~= 0 and raw(keys or "") or keys or ""
end

local function is_remapped_text(mapping)
  return mapping.noremap == 0 and mapping.script ~= 1 and (mapping.expr == 1 or not mapping.callback)
end

-- Give the name `plug` to what `mapping` does.
local function name_it(plug, mapping, key, plain)
  if is_remapped_text(mapping) then
    vim.keymap.set("i", plug, function()
      return guarded(evaluated(mapping), key, plain)
    end, { expr = true, remap = true, replace_keycodes = false })
    return
  end
  local renamed = vim.tbl_extend("force", mapping, { lhs = plug, lhsraw = raw(plug), buffer = 0, abbr = 0 })
  renamed.lhsrawalt = nil
  vim.fn.mapset("i", false, renamed)
end

--- Bind `key` in a buffer to `accept()`, and, when that is false, to what the key did before. Not an expression: Vim
--- may evaluate those before it has put in the key typed just before.
function M.bind(buf, key, accept, desc)
  local own = vim.api.nvim_buf_call(buf, function()
    return vim.fn.maparg(key, "i", false, true)
  end)
  if own.desc == desc then
    return
  end
  local before = own.buffer == 1 and own or nil
  count = count + 1
  local plug, plain = ("<Plug>(qcn-before-%d)"):format(count), ("<Plug>(qcn-plain-%d)"):format(count)
  vim.keymap.set("i", plain, key)
  vim.keymap.set("i", key, function()
    if accept() then
      return
    end
    local mapping = before or global_mapping(key)
    if mapping then
      name_it(plug, mapping, key, plain)
    end
    vim.api.nvim_feedkeys(raw(mapping and plug or plain), "mi", false)
  end, { buffer = buf, desc = desc })
end

return M
